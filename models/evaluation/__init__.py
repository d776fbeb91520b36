"""How good a model is: accuracy, calibration, robustness, fairness, beside baselines."""

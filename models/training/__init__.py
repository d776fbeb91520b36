"""Fine-tuning and distillation on the Hugging Face `Trainer`, described by one TOML file a run."""

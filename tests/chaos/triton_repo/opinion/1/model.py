"""A stand-in for the model `opinion` that fails on demand.

The file that TICKERTONE_TEST_FAULT_FILE names is read at every execution. Each of its lines is
one fault:

    slow SECONDS    every request takes so much longer
    hang            nothing is answered until the file changes, at most 120 s
    nan             every number is NaN
    shape           one class too few
    rows            one row too few
    refuse          requests that hold the word `unscorable-marker` fail, whatever else they hold
    error [COUNT]   every request fails; with a number, only so many since the file changed

No file, no fault. A text with the word `poison-nan` always gets NaN, and the others their scores.
"""

import os
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from stand_in import MILLION, SENTIMENTS, TOPICS, predict

REFUSED = "unscorable-marker"
POISON = "poison-nan"
FAULTS = frozenset(("slow", "hang", "nan", "shape", "rows", "refuse", "error"))
_LONGEST_HANG_S = 120.0
_POLL_S = 0.02


class TritonPythonModel:
    """One instance per model process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Find the file with the faults."""
        self.file = Path(os.environ.get("TICKERTONE_TEST_FAULT_FILE", os.devnull))
        self.said = ""
        self.failed = 0
        """Requests that failed by `error` since the file changed."""

    def execute(self, requests: list) -> list:
        """Answer every request, or do what the faults say."""
        faults = self._faults()
        if "hang" in faults:
            faults = self._hang()
        return [self._answer(request, faults) for request in requests]

    def _answer(self, request: object, faults: dict[str, float | None]) -> object:
        if "slow" in faults:
            time.sleep(faults["slow"] or 1.0)
        unknown = faults.keys() - FAULTS
        if unknown:
            return _error(f"no such fault: {', '.join(sorted(unknown))}")
        if "error" in faults and self.failed < (faults["error"] or float("inf")):
            self.failed += 1
            return _error("the stand-in fails")
        raw = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        try:
            texts = [bytes(value).decode("utf-8") for value in raw]
        except UnicodeDecodeError as exc:
            message = f"TEXT is not UTF-8: {exc.reason} at byte {exc.start}"
            return _error(message, pb_utils.TritonError.INVALID_ARG)
        if "refuse" in faults and any(REFUSED in text for text in texts):
            return _error(f"a text holds {REFUSED}")
        sentiment = np.empty((len(texts), SENTIMENTS), np.float32)
        topic = np.empty((len(texts), TOPICS), np.float32)
        for row, text in enumerate(texts):
            sentiment[row], topic[row] = (np.array(part) / MILLION for part in predict(text))
            if "nan" in faults or POISON in text:
                sentiment[row] = topic[row] = np.nan
        rows = len(texts) - ("rows" in faults)
        classes = int("shape" in faults)
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("SENTIMENT", _cut(sentiment, rows, SENTIMENTS - classes)),
                pb_utils.Tensor("TOPIC", _cut(topic, rows, TOPICS - classes)),
            ]
        )

    def _faults(self) -> dict[str, float | None]:
        """Return the faults in force and their numbers."""
        try:
            said = self.file.read_text()
        except FileNotFoundError:
            said = ""
        if said != self.said:
            self.said, self.failed = said, 0
        lines = [line.split() for line in said.splitlines() if line.strip()]
        return {name: float(rest[0]) if rest else None for name, *rest in lines}

    def _hang(self) -> dict[str, float | None]:
        """Wait until the file changes; return the faults in force then."""
        said = self.said
        end = time.monotonic() + _LONGEST_HANG_S
        while time.monotonic() < end:
            time.sleep(_POLL_S)
            faults = self._faults()
            if self.said != said:
                break
        faults.pop("hang", None)
        return faults


def _cut(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.ascontiguousarray(array[:rows, :columns])


def _error(message: str, code: int | None = None) -> object:
    error = pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL if code is None else code)
    return pb_utils.InferenceResponse(output_tensors=[], error=error)

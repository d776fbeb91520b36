"""Texts in, probabilities out: what Triton's Python backend runs for the model `opinion`.

All texts of all requests are tokenised in one call, sorted by length, run in sub-batches
bounded by a token budget, and handed back to their requests. A text's probabilities do not
depend on the other texts, to the last bit: arithmetic is float32, padding is masked, and shapes
are kept to those for which the kernels add up a row in one and the same order.

Imports only what the model's environment has: nothing of `streams` or `models`.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

_OUTPUTS = ("SENTIMENT", "TOPIC")
# Widths are multiples of the vector length, and no text runs alone (a matrix of one row takes
# another kernel): measured, one of the two missing moves probabilities by 1e-7.
_WIDTH = 8
_LEAST_ROWS = 2


class TritonPythonModel:
    """One instance per model process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load tokenizer and network of this version."""
        parameters = json.loads(args["model_config"]).get("parameters", {})

        def number(name: str, default: int) -> int:
            return int(parameters.get(name, {}).get("string_value", default))

        folder = Path(args["model_repository"]) / args["model_version"]
        missing = [n for n in ("model.onnx", "tokenizer.json") if not (folder / n).is_file()]
        if missing:
            raise pb_utils.TritonModelException(
                f"{' and '.join(missing)} missing in version {args['model_version']}; make them "
                "with: python -m models.export --weights FILE --out FOLDER"
            )
        self.budget = number("token_budget", 512)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(number("max_tokens", 128))
        options = onnxruntime.SessionOptions()
        # Sub-batches side by side, each on a core of its own: threads that share one matrix
        # product wait for each other, which cost a third of the throughput.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.pool = ThreadPoolExecutor(number("threads", 0) or _cores())
        # Shapes vary from call to call: plans made for one shape would only pile up.
        options.enable_mem_pattern = False
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list) -> list:
        """Answer every request; what is wrong with one request is that request's error."""
        texts: list[str] = []
        spans: list[tuple[int, int] | str] = []
        for request in requests:
            raw = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
            try:
                decoded = [bytes(value).decode("utf-8") for value in raw]
            except UnicodeDecodeError as exc:
                spans.append(f"TEXT is not UTF-8: {exc.reason} at byte {exc.start}")
                continue
            spans.append((len(texts), len(texts) + len(decoded)))
            texts += decoded
        results = self._infer(texts)
        return [_response(span, results) for span in spans]

    def _infer(self, texts: list[str]) -> list[np.ndarray]:
        """Return float32 [texts, 3] and [texts, topics] in the order of the texts."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        lengths = [-(-len(tokens) // _WIDTH) * _WIDTH for tokens in ids]
        groups = plan(lengths, self.budget)
        answers = self.pool.map(lambda rows: self._run([ids[row] for row in rows]), groups)
        results: list[np.ndarray] = []
        for rows, outputs in zip(groups, answers, strict=True):
            if not results:
                results = [np.empty((len(texts), o.shape[1]), np.float32) for o in outputs]
            for result, output in zip(results, outputs, strict=True):
                result[rows] = output[: len(rows)]
        return results

    def _run(self, ids: list[list[int]]) -> list[np.ndarray]:
        """Return the outputs of one sub-batch; rows beyond those of `ids` are filling."""
        width = -(-max(map(len, ids)) // _WIDTH) * _WIDTH
        shape = (max(len(ids), _LEAST_ROWS), width)
        input_ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        mask[:, 0] = 1  # a row of nothing but padding would divide by zero
        for i, tokens in enumerate(ids):
            input_ids[i, : len(tokens)] = tokens
            mask[i, : len(tokens)] = 1
        return self.session.run(
            [name.lower() for name in _OUTPUTS], {"input_ids": input_ids, "attention_mask": mask}
        )


def plan(lengths: list[int], budget: int) -> list[list[int]]:
    """Return row numbers in groups, each sorted by length, with rows x longest <= budget.

    A group has at least one row, so a text longer than the budget runs alone.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and (len(groups[-1]) + 1) * lengths[row] <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _response(span: tuple[int, int] | str, results: list[np.ndarray]) -> object:
    if isinstance(span, str):
        error = pb_utils.TritonError(span, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(output_tensors=[], error=error)
    start, end = span
    return pb_utils.InferenceResponse(
        output_tensors=[
            pb_utils.Tensor(name, np.ascontiguousarray(result[start:end]))
            for name, result in zip(_OUTPUTS, results, strict=True)
        ]
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Texts in, probabilities out: what Triton's Python backend runs for the model `opinion`.

All texts of all requests are tokenised in one call, put together by length, run in packs bounded
by a token budget, and handed back to their requests. A text's probabilities do not depend on the
other texts, to the last bit: a pack holds texts of one width, which is the text's own length
rounded up, and within a width every operation of the graph works on each text, token or number by
itself or adds up integers.

Imports only what the model's environment has: nothing of `streams` or `models`. The export
(`models.export`) copies this file into each version folder.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]

_OUTPUTS = ("SENTIMENT", "TOPIC")
_WIDTH = 8
"""Widths are multiples of the vector length: attention's products then take one kernel."""


class TritonPythonModel:
    """One instance per model process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load tokenizer and network of this version."""
        config = json.loads(args["model_config"])
        parameters = {k: v["string_value"] for k, v in config.get("parameters", {}).items()}
        self.classes = {o["name"]: int(o["dims"][0]) for o in config.get("output", ())}
        weights = parameters.get("weights", "model.onnx")
        folder = Path(args["model_repository"]) / args["model_version"]
        missing = [n for n in (weights, "tokenizer.json") if not (folder / n).is_file()]
        if missing:
            raise pb_utils.TritonModelException(
                f"{' and '.join(missing)} missing in version {args['model_version']}; make them "
                "with: tickertone models export RUN --out REPOSITORY"
            )
        self.budget = int(parameters.get("token_budget", 512))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(int(parameters.get("max_tokens", 128)))
        # Packs side by side, each on a core of its own: threads that share one matrix product
        # wait for each other, which cost a third of the throughput.
        self.pool = ThreadPoolExecutor(int(parameters.get("threads", 0)) or _cores())
        self.session = onnxruntime.InferenceSession(
            str(folder / weights), _options(), providers=_providers(args)
        )
        self.names = [output.name for output in self.session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
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

    def _infer(self, texts: list[str]) -> dict[str, Floats]:
        """Return float32 [texts, classes] by output, in the order of the texts."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        groups = plan([len(tokens) for tokens in ids], self.budget)
        answers = self.pool.map(lambda rows: self._run([ids[row] for row in rows]), groups)
        results: dict[str, Floats] = {}
        for rows, outputs in zip(groups, answers, strict=True):
            for name, output in outputs.items():
                if name not in results:
                    results[name] = np.empty((len(texts), output.shape[1]), np.float32)
                results[name][rows] = output
        for name in _OUTPUTS:
            if name not in results and texts:
                # A network without this head: all classes alike, which says nothing.
                classes = self.classes[name]
                results[name] = np.full((len(texts), classes), 1 / classes, np.float32)
        return results

    def _run(self, ids: list[list[int]]) -> dict[str, Floats]:
        """Return the network's outputs for texts of one width."""
        shape = len(ids), width(len(ids[0]))
        input_ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for i, tokens in enumerate(ids):
            input_ids[i, : len(tokens)] = tokens
            mask[i, : len(tokens)] = 1
        outputs = self.session.run(self.names, {"input_ids": input_ids, "attention_mask": mask})
        return dict(zip((name.upper() for name in self.names), outputs, strict=True))


def width(length: int) -> int:
    """Return the width at which a text of so many tokens runs, whatever runs beside it."""
    return -(-length // _WIDTH) * _WIDTH


def plan(lengths: list[int], budget: int) -> list[list[int]]:
    """Return row numbers in groups of one width, with no more tokens than the budget.

    A group has at least one row, so a text longer than the budget runs alone. The largest groups
    come first, so that side by side they end at about the same time.
    """
    groups: list[list[int]] = []
    tokens: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[row]
        if (
            groups
            and width(lengths[groups[-1][0]]) == width(length)
            and tokens[-1] + length <= budget
        ):
            groups[-1].append(row)
            tokens[-1] += length
        else:
            groups.append([row])
            tokens.append(length)
    largest = sorted(range(len(groups)), key=tokens.__getitem__, reverse=True)
    return [groups[i] for i in largest]


def _response(span: tuple[int, int] | str, results: dict[str, Floats]) -> object:
    if isinstance(span, str):
        error = pb_utils.TritonError(span, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(output_tensors=[], error=error)
    start, end = span
    return pb_utils.InferenceResponse(
        output_tensors=[
            pb_utils.Tensor(name, np.ascontiguousarray(results[name][start:end]))
            for name in _OUTPUTS
        ]
    )


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Shapes vary from call to call: plans made for one shape would only pile up.
    options.enable_mem_pattern = False
    # The graph is written as it is to run. What the further levels fuse here (GELU with its bias)
    # is slower fused.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # Processors without VNNI add products of uint8 and int8 in 16 bits, which overflow. With this
    # the sums are exact, and the same, on all.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _providers(args: dict[str, str]) -> list[Any]:
    if args.get("model_instance_kind") != "GPU":
        return ["CPUExecutionProvider"]
    device = {"device_id": args.get("model_instance_device_id", "0")}
    return [("CUDAExecutionProvider", device), "CPUExecutionProvider"]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

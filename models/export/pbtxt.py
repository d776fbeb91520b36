"""`config.pbtxt` of the model `opinion`, rendered from code, for servers with and without a GPU."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from streams.adapters.triton import INPUT, MAX_BATCH, OUTPUTS

NAME: Final = "opinion"
Device = Literal["cpu", "gpu"]

_HEAD: Final = """\
# One text in, its sentiment and topic probabilities out. Written by `tickertone models export`;
# models/export/pbtxt.py says why each figure is what it is. Change it there.
"""


@dataclass(frozen=True)
class Serving:
    """What differs from machine to machine and model to model."""

    device: Device = "cpu"
    instances: int = 1
    """Model processes; on a GPU each holds the weights."""
    threads: int = 0
    """Packs that run side by side in a process; 0 means one per core that it may use."""
    token_budget: int = 512
    """Most tokens of a pack. Small on a CPU, so that what a layer computes stays in the caches."""
    max_tokens: int = 128
    """Longer texts are cut; what the model was trained with."""
    versions: tuple[int, ...] = ()
    """Versions to load; without any the newest."""


GPU: Final = Serving(device="gpu", instances=1, threads=1, token_budget=16_384)
"""One process and large packs: a GPU runs one at a time anyway, and wants it full."""


def model_config(serving: Serving) -> Any:
    """Return the configuration as Triton's protobuf message."""
    proto = model_config_pb2
    gpu = serving.device == "gpu"
    config = proto.ModelConfig(name=NAME, backend="python", max_batch_size=MAX_BATCH)
    config.input.add(name=INPUT, data_type=proto.TYPE_STRING, dims=[1])
    for name, classes in OUTPUTS.items():
        config.output.add(name=name, data_type=proto.TYPE_FP32, dims=[classes])
    group = proto.ModelInstanceGroup
    config.instance_group.add(
        kind=group.KIND_GPU if gpu else group.KIND_CPU, count=serving.instances
    )
    if serving.versions:
        config.version_policy.specific.versions.extend(serving.versions)
    else:
        config.version_policy.latest.num_versions = 1
    # No preferred sizes: model.py forms its own packs by length. A request that waited 5 s is
    # refused; the client's deadline is longer, so it hears "overloaded" and slows down. Priority 1
    # is for probes: they overtake, so that load does not look like a fault.
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = 2000
    batching.priority_levels = 2
    batching.default_priority_level = 2
    queue = batching.default_queue_policy
    queue.timeout_action = proto.ModelQueuePolicy.REJECT
    queue.default_timeout_microseconds = 5_000_000
    queue.allow_timeout_override = True
    queue.max_queue_size = 256
    parameters = {
        "threads": serving.threads,
        "token_budget": serving.token_budget,
        "max_tokens": serving.max_tokens,
        "weights": "model.fp16.onnx" if gpu else "model.onnx",
    }
    for key, value in parameters.items():
        config.parameters[key].string_value = str(value)
    # Ready means: has answered. Allocates what the first real request would have to wait for.
    warm_up = config.model_warmup.add(name="one empty text", batch_size=1)
    text = warm_up.inputs[INPUT]
    text.data_type, text.zero_data = proto.TYPE_STRING, True
    text.dims.append(1)
    return config


def render(serving: Serving) -> str:
    """Return the file's text."""
    body: str = text_format.MessageToString(model_config(serving))
    return f"{_HEAD}{body}"

"""The real tritonserver, from the wheel nvidia-pytriton, on loopback."""

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tritonclient.grpc.aio as grpc_aio
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

import streams
from streams.core.errors import ConfigurationError
from streams.embedded.supervisor import ChildSpec

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton and its model process meet


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """Where the server listens, on 127.0.0.1."""

    grpc: int
    http: int
    metrics: int


def shipped_repository() -> Path:
    """Return the model repository that belongs to this version of the code.

    Raises:
        ConfigurationError: it is not there.
    """
    package = Path(streams.__file__).parent
    for folder in (package / "triton_repo", package.parent / "triton_repo"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(
        "no model repository beside the package; name one in TICKERTONE_TRITON__REPOSITORY"
    )


def triton_spec(
    ports: TritonPorts, *, run_dir: Path, repository: Path, model: str = "opinion"
) -> ChildSpec:
    """Return how to run Triton; it is healthy while it really infers, and restarted otherwise.

    Args:
        ports: The same after every restart, so that clients find it again.
        run_dir: The Python backend is laid out in its folder `triton`.
        repository: The model repository.
        model: The model to load and to probe.

    Raises:
        ConfigurationError: the extra is not installed or does not fit this machine or Python,
            or the repository does not hold the model.
    """
    wheel = _wheel()
    stub = _stub(wheel)
    if not (repository / model / "config.pbtxt").is_file():
        raise ConfigurationError(f"no model {model} in {repository.resolve()}")
    home = run_dir.resolve() / "triton"
    prefix = shared_memory_prefix(run_dir)
    argv = (
        str(wheel / "tritonserver/bin/tritonserver"),
        f"--model-repository={repository.resolve()}",
        "--model-control-mode=explicit",
        f"--load-model={model}",
        f"--backend-directory={home / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        f"--grpc-port={ports.grpc}",
        f"--http-port={ports.http}",
        f"--metrics-port={ports.metrics}",
        "--grpc-address=127.0.0.1",
        "--http-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        "--exit-timeout-secs=5",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--disable-auto-complete-config",
    )

    def prepare() -> None:
        _lay_out(wheel, stub, home / "backends" / "python")
        for left in _SHARED_MEMORY.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                left.unlink()

    async def probe() -> bool:
        return await infers(f"127.0.0.1:{ports.grpc}", model)

    return ChildSpec(
        "triton",
        argv,
        env=_environment(wheel),
        prepare=prepare,
        ready=probe,
        health=probe,
        health_timeout_s=12,
        grace_s=8,
        fatal_codes=frozenset(),
    )


def shared_memory_prefix(run_dir: Path) -> str:
    """Return how the server's shared memory is named.

    It outlives a killed server; what has the name of this run directory can be cleared safely.
    """
    return f"tickertone_{hashlib.blake2b(bytes(run_dir.resolve()), digest_size=6).hexdigest()}_"


async def infers(url: str, model: str, timeout_s: float = 10.0) -> bool:
    """Return whether the server answers a real inference in time; it overtakes what queues."""
    text = InferInput("TEXT", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[b"ready?"]], dtype=np.object_))
    async with grpc_aio.InferenceServerClient(url) as client:
        try:
            await client.infer(model, [text], priority=1, client_timeout=timeout_s)
        except InferenceServerException:
            return False
    return True


def _wheel() -> Path:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise _missing(f"Triton does not run on {sys.platform} {machine}")
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise _missing("the package nvidia-pytriton is not installed")
    wheel = Path(spec.origin).parent
    if not (wheel / "tritonserver/bin/tritonserver").is_file():
        raise _missing("nvidia-pytriton has no server for this machine")
    for package in ("numpy", "onnxruntime", "tokenizers"):
        if importlib.util.find_spec(package) is None:
            raise _missing(f"the package {package} is not installed")
    return wheel


def _stub(wheel: Path) -> Path:
    """Return the program that runs model.py, which must fit the running Python."""
    folder = wheel / "tritonserver/python_backend_stubs"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = folder / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise _missing(f"nvidia-pytriton knows Python {known}, this is {version}")
    return stub


def _missing(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"no embedded Triton: {why}. Install the extra: pip install 'tickertone[embedded]' "
        "(Linux), or name a Triton server in TICKERTONE_TRITON__URL"
    )


def _lay_out(wheel: Path, stub: Path, target: Path) -> None:
    """Copy backend and stub side by side: Triton looks for the stub beside the library."""
    target.mkdir(parents=True, exist_ok=True)
    for source in (*(wheel / "tritonserver/backends/python").iterdir(), stub):
        if source.is_file():
            # Under another name first: a running server may have the old one open.
            new = target / f".{source.name}.{os.getpid()}"
            shutil.copyfile(source, new)
            new.chmod(0o755)
            new.replace(target / source.name)


def _environment(wheel: Path) -> dict[str, str]:
    """Return what the server and the Python inside of its stub need to find their libraries."""
    libraries = [str(wheel.parent / "nvidia_pytriton.libs")]
    if folder := sysconfig.get_config_var("LIBDIR"):
        libraries.append(str(folder))  # libpython, where Python is not in a system folder
    if known := os.environ.get("LD_LIBRARY_PATH"):
        libraries.append(known)
    # The stub runs its Python in isolated mode: no PYTHONPATH, no user packages. It takes the
    # environment (virtual or not) of the first python3 on the PATH, so that must be ours.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"LD_LIBRARY_PATH": ":".join(libraries), "PATH": path}

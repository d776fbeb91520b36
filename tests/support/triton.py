"""A real Triton with the stand-in model, which a test may slow, break, freeze and kill."""

import asyncio
import contextlib
import importlib.util
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from streams.core.errors import UnscorableText
from streams.embedded.process import ChildProcess, free_ports
from streams.embedded.triton import TritonPorts, shared_memory_prefix, triton_spec
from streams.ports import Prediction

STAND_IN: Final = Path(__file__).parents[1] / "chaos" / "triton_repo"
"""The model repository of the stand-in."""
FAULT_FILE: Final = "TICKERTONE_TEST_FAULT_FILE"
_SHARED_MEMORY: Final = Path("/dev/shm")


class ModelServer:
    """A Triton that nobody watches, so that it is away exactly as long as a test wants.

    Everything blocks and needs no event loop; in one, use `asyncio.to_thread`. Not thread-safe.
    """

    def __init__(self, folder: Path, repository: Path = STAND_IN) -> None:
        """Nothing starts yet.

        Args:
            folder: For its log and the file of the faults; made if missing.
            repository: The model repository.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ports = TritonPorts(*free_ports(3))
        self.url = f"127.0.0.1:{ports.grpc}"
        """gRPC address, the same after every start."""
        self._file = folder / "fault"
        self._shared = f"{shared_memory_prefix(folder)}*"
        self._spec = triton_spec(ports, run_dir=folder, repository=repository)
        self._child = ChildProcess(
            "triton",
            self._spec.argv,
            run_dir=folder,
            env={**self._spec.env, FAULT_FILE: str(self._file.resolve())},
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the server, while it runs."""
        return self._child.pid

    def start(self, within_s: float = 60.0) -> None:
        """Start and wait until it really infers; also after `kill`. The faults stay as they are.

        Raises:
            RuntimeError: it ended, or does not infer in time; the message has the end of its log.
        """
        assert self._spec.prepare is not None
        self._spec.prepare()
        self._child.start()
        try:
            _apart(lambda: asyncio.run(self._ready(within_s)))
        except BaseException:
            self.kill()
            raise

    async def _ready(self, within_s: float) -> None:
        assert self._spec.ready is not None
        deadline = time.monotonic() + within_s
        while not await self._spec.ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Triton does not infer:\n{self._child.log_tail()}")
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        """Kill server and model process (SIGKILL) and wait for their end."""
        self._child.kill()

    def freeze(self) -> None:
        """Stop server and model process (SIGSTOP): connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def fault(self, text: str | None) -> None:
        """Set the faults (see model.py; one a line) from the next execution on, or none."""
        if text is None:
            self._file.unlink(missing_ok=True)
            return
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)  # never half a file

    def close(self) -> None:
        """Stop it, whatever state it is in; idempotent."""
        self.fault(None)
        self.thaw()
        _apart(lambda: asyncio.run(self._child.stop(self._spec.grace_s)))
        for left in _SHARED_MEMORY.glob(self._shared):
            left.unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._child.pid is None:
                return
            server = psutil.Process(self._child.pid)
            for process in (*server.children(recursive=True), server):
                process.send_signal(number)


class OfflineModel:
    """The stand-in's scores without a server, as a classifier."""

    model = "opinion/1"

    async def ready(self) -> bool:
        return True

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        """Return what the server would answer without faults."""
        return [predicted(text) for text in texts]


def predicted(text: str) -> Prediction | UnscorableText:
    """Return what the stand-in thinks of a text."""
    try:
        sentiment, topic = _stand_in.predict(text)
    except UnicodeEncodeError as exc:
        return UnscorableText(f"no valid Unicode: {exc.reason}")
    return Prediction(sentiment, topic)


def _load() -> Any:
    """Import the pure half of the model, which lies where Triton wants it."""
    spec = importlib.util.spec_from_file_location(
        "stand_in", STAND_IN / "opinion" / "1" / "stand_in.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _apart(work: Callable[[], object]) -> None:
    """Run in a thread of its own: ours may run an event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


_stand_in = _load()

"""The classifier port over Triton's gRPC protocol: strings in, probabilities out.

What the server says decides what happens next:

    refused (INVALID_ARGUMENT, an error of the model)  → halve until the culprit is alone
    no distribution (NaN, wrong shape)                 → the same
    overloaded (queue full, queue timeout)             → fewer requests at once, retry after a pause
    silent (deadline)                                  → probe; silent again: open the circuit
    anything else (unreachable, not ready)             → retry after a pause; the breaker counts it
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NoReturn, Self

import numpy as np
import tenacity
import tritonclient.grpc.aio as grpc_aio
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from streams.adapters.breaker import Breaker, State, Throttle
from streams.core.errors import BadModelOutput, ClassifierUnavailable, UnscorableText
from streams.core.labels import SENTIMENTS, TOPICS
from streams.ports import Prediction
from streams.settings import TritonSettings

INPUT: Final = "TEXT"
OUTPUTS: Final = {"SENTIMENT": len(SENTIMENTS), "TOPIC": len(TOPICS)}
"""Tensors of the model: name and number of classes."""

MILLION: Final = 1_000_000
SUM_TOLERANCE: Final = 1e-3
IN_FLIGHT: Final = 8
"""Most requests at the server at once; two full batches of the model keep it busy."""
MAX_BATCH: Final = 128
"""`max_batch_size` of the model: no request may hold more texts."""
PROBE_S: Final = 5.0
PROBE_TEXT: Final = "ready?"
PROBE_PRIORITY: Final = 1
"""Overtakes what queues at the server, so that load alone does not look like a fault."""

_CHANNEL: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A restarted server is found again within a second or two; the default may wait minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A host that vanished without a word is noticed while calls are under way.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]
_OVERLOAD = ("maximum queue size", "timeout expired")
_BROKEN = ("stub process", "not healthy", "shared memory", "shutting down")
"""Errors of the model process itself, which Triton reports as if the model had raised them."""


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


class _Refused(Exception):
    """The server does not take this request; its texts may be at fault."""


class _Silent(ClassifierUnavailable):
    """No answer before the deadline."""


class TritonClassifier:
    """Scores texts at one Triton address, over one connection for the life of the process.

    Must be used within one event loop. `async with` or `close()` ends the connection.
    """

    def __init__(self, settings: TritonSettings, url: str) -> None:
        """Nothing is sent yet.

        Args:
            settings: Model name, deadlines, attempts and size of requests.
            url: gRPC address host:port.
        """
        self._settings = settings
        self._url = url
        self._client: grpc_aio.InferenceServerClient | None = None
        self._version = "?"
        self._throttle = Throttle(IN_FLIGHT)
        self._breaker = Breaker(time.monotonic)
        self._probing = asyncio.Lock()
        self._outputs = [InferRequestedOutput(name) for name in OUTPUTS]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; calls under way fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def model(self) -> str:
        """Name and version as the server last stated them; the version is `?` before that."""
        return f"{self._settings.model}/{self._version}"

    @property
    def circuit(self) -> State:
        """State of the circuit breaker, for metrics."""
        return self._breaker.state

    async def ready(self) -> bool:
        """Return whether a real inference just succeeded; if so, the breaker closes."""
        try:
            await self._call([PROBE_TEXT.encode()], PROBE_S, PROBE_PRIORITY)
        except (ClassifierUnavailable, BadModelOutput, _Refused):
            return False
        self._breaker.close()
        return True

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        """Return one answer per text, in order.

        Large calls are split into requests of `request_texts`, sent at once as far as the
        brake allows. With one of them failing for good, the call fails and nothing is scored.

        Raises:
            ClassifierUnavailable: after the capped retries, or at once while the circuit is open.
            BadModelOutput: the server's answers are no distributions, even for a good text.
        """
        if not texts:
            return []
        await self._admit()
        answers: list[Prediction | UnscorableText] = []
        raw: list[bytes] = []
        places: list[int] = []
        for place, text in enumerate(texts):
            try:
                raw.append(text.encode())
                places.append(place)
            except UnicodeEncodeError as exc:
                answers.append(UnscorableText(f"no valid Unicode: {exc.reason}"))
        size = min(self._settings.request_texts, MAX_BATCH)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._score(raw[at : at + size]))
                    for at in range(0, len(raw), size)
                ]
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        scored = iter([answer for task in tasks for answer in task.result()])
        unencodable = iter(answers)
        good = set(places)
        return [next(scored if i in good else unencodable) for i in range(len(texts))]

    async def _admit(self) -> None:
        """Return if calls may pass; half-open, one caller probes and the others wait for it."""
        if self._closed():
            return
        async with self._probing:
            if self._breaker.state is State.HALF_OPEN and not await self.ready():
                self._breaker.open()
        if not self._closed():
            raise ClassifierUnavailable(f"Triton at {self._url} is down: the circuit is open")

    async def _suspect(self) -> None:
        """Open the circuit if a probe fails, without waiting for more deadlines to pass."""
        async with self._probing:
            if self._closed() and not await self.ready():
                self._breaker.open()

    async def _score(self, texts: list[bytes]) -> list[Prediction | UnscorableText]:
        """Score one request's texts, halving what the server refuses or gets wrong."""
        try:
            return [*await self._persist(texts)]
        except (_Refused, BadModelOutput) as fault:
            if len(texts) == 1:
                return [await self._blame(texts, fault)]
        middle = len(texts) // 2
        return [*await self._score(texts[:middle]), *await self._score(texts[middle:])]

    async def _blame(
        self, texts: list[bytes], fault: _Refused | BadModelOutput
    ) -> Prediction | UnscorableText:
        """Ask once more about a text that failed alone; blame it only if a good text passes.

        Raises:
            ClassifierUnavailable: the server refuses any text.
            BadModelOutput: its answers are no distributions, whatever the text.
        """
        if not await self.ready():
            if isinstance(fault, BadModelOutput):
                raise fault
            raise ClassifierUnavailable(f"Triton refuses any text: {fault}") from fault
        try:
            # The server may have been at fault, and have mended between this text and the probe.
            return (await self._persist(texts))[0]
        except _Refused as again:
            return UnscorableText(f"the model refuses it: {again}")
        except BadModelOutput as again:
            return UnscorableText(f"the model's answer is no distribution: {again}")

    async def _persist(self, texts: list[bytes]) -> list[Prediction]:
        """Call with capped retries and pauses that differ from caller to caller."""
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(ClassifierUnavailable)
            & tenacity.retry_if_exception(lambda _: self._closed()),
            stop=tenacity.stop_after_attempt(self._settings.attempts),
            wait=tenacity.wait_fixed(0.1) + tenacity.wait_random_exponential(0.2, max=5),
            sleep=_pause,
            reraise=True,
        ):
            with attempt:
                async with self._throttle.slot():
                    if not self._closed():
                        raise ClassifierUnavailable(f"Triton at {self._url} is down")
                    try:
                        return await self._call(texts, self._settings.deadline_s)
                    except _Silent:
                        await self._suspect()
                        raise
        raise AssertionError("tenacity returns or raises")

    async def _call(
        self, texts: list[bytes], deadline_s: float, priority: int = 0
    ) -> list[Prediction]:
        """Send one request and read its answer."""
        tensor = InferInput(INPUT, [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(texts, dtype=np.object_).reshape(-1, 1))
        try:
            result = await self._connection().infer(
                self._settings.model,
                [tensor],
                outputs=self._outputs,
                priority=priority,
                # The server forgets what still queues when we have stopped waiting for it.
                timeout=int(deadline_s * 0.5 * MILLION),
                client_timeout=deadline_s,
            )
        except InferenceServerException as exc:
            self._explain(exc)
        self._breaker.succeeded()
        self._throttle.faster()
        self._version = result.get_response().model_version
        return _predictions(result, len(texts))

    def _explain(self, exc: InferenceServerException) -> NoReturn:
        """Turn the server's error into ours, and tell breaker and brake."""
        code = str(exc.status()).removeprefix("StatusCode.")
        message = str(exc.message() or "")
        known = message.lower()
        text = f"Triton at {self._url}: {code}: {message[:300]}"
        broken = any(word in known for word in _BROKEN)
        if code in ("INVALID_ARGUMENT", "INTERNAL", "UNKNOWN") and not broken:
            raise _Refused(message[:300]) from exc
        if code == "RESOURCE_EXHAUSTED" or any(word in known for word in _OVERLOAD):
            self._throttle.slower()  # alive, so nothing for the breaker
        else:
            self._breaker.failed()
        if code == "DEADLINE_EXCEEDED":
            raise _Silent(text) from exc
        raise ClassifierUnavailable(text) from exc

    def _closed(self) -> bool:
        return self._breaker.state is State.CLOSED

    def _connection(self) -> grpc_aio.InferenceServerClient:
        if self._client is None:
            self._client = grpc_aio.InferenceServerClient(self._url, channel_args=_CHANNEL)
        return self._client


def _predictions(result: InferResult, count: int) -> list[Prediction]:
    """Read both outputs, trusting nothing.

    Raises:
        BadModelOutput: wrong shape, not finite, outside of [0, 1], or rows that do not sum to one.
    """
    sentiment, topic = (
        _distribution(name, result.as_numpy(name), (count, classes))
        for name, classes in OUTPUTS.items()
    )
    return [Prediction((s[0], s[1], s[2]), tuple(t)) for s, t in zip(sentiment, topic, strict=True)]


def _distribution(
    name: str, rows: NDArray[np.float32] | None, shape: tuple[int, int]
) -> list[list[int]]:
    if rows is None or rows.shape != shape:
        raise BadModelOutput(f"{name}: {None if rows is None else rows.shape}, not {shape}")
    wide = rows.astype(np.float64)
    if not np.isfinite(wide).all():
        raise BadModelOutput(f"{name} has numbers that are not finite")
    if (wide < 0).any() or (wide > 1 + 1e-6).any():
        raise BadModelOutput(f"{name} has numbers outside of [0, 1]")
    if (np.abs(wide.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise BadModelOutput(f"{name} has rows that do not sum to one")
    integers: list[list[int]] = np.rint(wide * MILLION).astype(np.int64).tolist()
    return integers


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the gravest single error of a group: a contract error before a transient one."""
    flat = [e for e in errors.exceptions if not isinstance(e, ExceptionGroup)]
    return next((e for e in flat if isinstance(e, BadModelOutput)), flat[0])

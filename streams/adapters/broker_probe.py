"""Finding out at once whether a broker answers.

The clients would find out too, but after up to a minute and with pages of log.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from streams.core.errors import BrokerUnreachable, ConfigurationError

PATIENCE_S: Final = 8.0
"""How long to wait for a broker that is still starting."""

_PROBE_S: Final = 3.0
_PAUSE_S: Final = 0.2


async def answers(host: str, port: int) -> bool:
    """Return whether a broker answers a metadata request."""
    try:
        connection = await create_conn(host, port, request_timeout_ms=int(_PROBE_S * 1000))
    except (OSError, KafkaError, TimeoutError):
        return False
    try:
        async with asyncio.timeout(_PROBE_S):
            await connection.send(MetadataRequest([]))
    except (OSError, KafkaError, TimeoutError):
        return False
    finally:
        connection.close()
    return True


def wait_for_broker(bootstrap: str, patience_s: float = PATIENCE_S) -> None:
    """Return once one of the addresses answers. Blocks, with an event loop of its own.

    Args:
        bootstrap: Addresses host:port, comma-separated.
        patience_s: How long to wait.

    Raises:
        ConfigurationError: an address is no host:port.
        BrokerUnreachable: no broker answers.
    """
    try:
        places = [
            (host.strip("[]"), int(port))
            for host, _, port in (a.strip().rpartition(":") for a in bootstrap.split(","))
        ]
    except ValueError:
        raise ConfigurationError(
            f"TICKERTONE_KAFKA__BOOTSTRAP: {bootstrap} is not host:port, comma-separated"
        ) from None

    async def any_answers() -> bool:
        return any(await asyncio.gather(*(answers(host, port) for host, port in places)))

    deadline = time.monotonic() + patience_s
    with ThreadPoolExecutor(1) as thread:  # the caller's may run a loop already
        while not thread.submit(asyncio.run, any_answers()).result():
            if time.monotonic() > deadline:
                raise BrokerUnreachable(
                    f"no Kafka broker answers at {bootstrap}. "
                    "Check TICKERTONE_KAFKA__BOOTSTRAP, or leave it empty for the embedded broker."
                )
            time.sleep(_PAUSE_S)

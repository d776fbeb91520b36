"""What every command starts from: the terminal, the settings, and a broker that answers."""

from rich.console import Console

from streams.adapters.broker_probe import wait_for_broker
from streams.adapters.logs import configure_logs
from streams.core.errors import ConfigurationError
from streams.settings import Settings
from streams.settings_check import load_settings
from streams.up import running_stack

console = Console()
errors = Console(stderr=True)


def load() -> Settings:
    """Return the settings, logs configured.

    Raises:
        ConfigurationError: it lists every mistake.
    """
    settings = load_settings()
    configure_logs(settings.log_json)
    return settings


def connected() -> Settings:
    """Return settings that name a broker: the given one, else that of a running `tickertone up`.

    Raises:
        ConfigurationError: there is none.
        BrokerUnreachable: it does not answer.
    """
    settings = load()
    if settings.kafka.bootstrap is None:
        stack = running_stack(settings.run_dir)
        if stack is None:
            raise ConfigurationError(
                "no broker: set TICKERTONE_KAFKA__BOOTSTRAP, or start `tickertone up` beside this"
            )
        triton = settings.triton.model_copy(update={"url": stack["triton"]})
        named = {name: stack[name] for name in ("bootstrap", "transactions")}
        kafka = settings.kafka.model_copy(update=named)
        settings = settings.model_copy(update={"kafka": kafka, "triton": triton})
    return answered(settings)


def gateway_url(settings: Settings) -> str:
    """Return where the gateway is: that of a running `tickertone up`, else that of the settings."""
    stack = running_stack(settings.run_dir)
    if stack is not None:
        return str(stack["gateway"])
    host, port = settings.gateway.host, settings.gateway.port
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answered(settings: Settings) -> Settings:
    """Return the settings once their broker answers, if they name one.

    Raises:
        BrokerUnreachable: it does not.
    """
    if settings.kafka.bootstrap is not None:
        wait_for_broker(settings.kafka.bootstrap)
    return settings

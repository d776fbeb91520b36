"""Logging, configured once per process. Texts and secrets are never logged."""

import logging
import sys

import structlog


def configure_logs(as_json: bool, level: int = logging.INFO) -> None:
    """Send our events and the libraries' warnings to standard error."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")
    # Faust reports every rebalance in detail, aiokafka every retry.
    logging.getLogger("faust").setLevel(logging.WARNING)
    # kafka-python reports every tenth of a second in which a loaded machine let it wait.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

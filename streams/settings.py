"""All settings, from `TICKERTONE_…` environment variables (nested with `__`).

Built once by the CLI and handed down group by group; nothing else reads the environment.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Group):
    """The broker and the names on it."""

    bootstrap: str | None = Field(
        None,
        description="Addresses host:port, comma-separated. Empty: an embedded broker in memory.",
    )
    prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=60,
        description="Put before every topic and consumer group; a new prefix is a new world.",
    )
    partitions: int = Field(4, ge=1, le=256, description="Partitions of the inputs and of votes.")
    replication: int = Field(1, ge=1, le=5, description="Replication factor of new topics.")
    transactions: bool = Field(
        True, description="Exactly-once state; off only for brokers without transactions (Tansu)."
    )
    session_timeout_s: float = Field(10.0, ge=6, le=300, description="Consumer session timeout.")
    stall_s: float = Field(
        120.0,
        ge=10,
        le=3600,
        description="A worker ends when input waits and no commit moves for so long.",
    )


class TritonSettings(_Group):
    """The model server."""

    url: str | None = Field(
        None, description="gRPC address host:port. Empty: an embedded Triton on loopback."
    )
    model: str = Field("opinion", description="Name of the model on the server.")
    repository: Path | None = Field(
        None, description="Model repository of the embedded server. Empty: the one shipped."
    )
    deadline_s: float = Field(10.0, gt=0, le=120, description="Deadline of one request.")
    attempts: int = Field(3, ge=1, le=10, description="Tries of one request before it is held.")
    request_texts: int = Field(64, ge=1, le=256, description="Texts in one request.")


class ScoreSettings(_Group):
    """The stage that turns texts into opinions and votes."""

    batch_texts: int = Field(64, ge=1, le=1024, description="Most texts in a batch.")
    batch_bytes: int = Field(1_000_000, ge=10_000, description="Most bytes in a batch.")
    batch_wait_s: float = Field(0.1, gt=0, le=5, description="Longest wait for a batch to fill.")
    batches_in_flight: int = Field(4, ge=1, le=32, description="Batches at Triton at once.")
    cache_texts: int = Field(50_000, ge=0, description="Recently scored contents kept; 0 is off.")
    dead_ratio: float = Field(0.5, gt=0, le=1, description="Hold above this share of dead texts.")
    dead_window: int = Field(1000, ge=10, description="Texts over which the share is taken.")
    dead_run: int = Field(500, ge=1, description="Hold after so many dead texts in a row.")
    author_key: SecretStr | None = Field(
        None,
        description="Key of author pseudonyms. Empty: made once, kept in the run directory.",
    )
    dictionaries: tuple[Path, ...] = Field(
        (),
        description="CSV files symbol,name,aliases; their rows win over the shipped dictionaries.",
    )
    idle_s: float = Field(30.0, gt=0, description="Silence after which a source counts as idle.")


class AggregateSettings(_Group):
    """The stage that turns votes into windows and alerts."""

    lateness_s: float = Field(60.0, ge=0, le=3600, description="Allowed lateness of texts.")
    batch_votes: int = Field(400, ge=1, le=5000, description="Most votes in a transaction.")
    batch_wait_s: float = Field(0.1, gt=0, le=5, description="Longest wait for a batch to fill.")
    rules: Path | None = Field(None, description="YAML file of rules. Empty: the one shipped.")


class GatewaySettings(_Group):
    """The HTTP side."""

    host: str = Field("127.0.0.1", description="Loopback only, until access tokens exist.")
    port: int = Field(8080, ge=0, le=65535, description="0 picks a free port.")


class DeliverySettings(_Group):
    """Where alerts may be sent to."""

    schemes: tuple[Literal["https", "http"], ...] = Field(
        ("https",), description="Schemes of receivers' URLs."
    )
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        (443,), description="Ports of receivers' URLs."
    )
    networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Networks beyond the public internet that may be called, such as 10.1.0.0/16. "
        "A metadata address only if it is named itself.",
    )


class MetricsSettings(_Group):
    """Prometheus endpoints of the workers (the gateway serves its own)."""

    host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    port: int = Field(0, ge=0, le=65535, description="0 picks a free port, said in the log.")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="TICKERTONE_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    kafka: KafkaSettings = KafkaSettings()
    triton: TritonSettings = TritonSettings()
    score: ScoreSettings = ScoreSettings()
    aggregate: AggregateSettings = AggregateSettings()
    gateway: GatewaySettings = GatewaySettings()
    delivery: DeliverySettings = DeliverySettings()
    metrics: MetricsSettings = MetricsSettings()
    run_dir: Path = Field(Path(".run"), description="Logs, keys and files of embedded servers.")
    log_json: bool = Field(False, description="Logs as JSON instead of for people.")

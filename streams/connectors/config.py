"""The file that says what `tickertone connect` reads, and what may stand in it."""

import codecs
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import jmespath
import yaml
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from streams.connectors.secret import (
    PLAIN,
    REFERENCE,
    Values,
    plain_secrets,
    reveal_all,
    sounds,
)
from streams.connectors.texts import Label
from streams.core.errors import ConfigurationError
from streams.core.records import Source

_MAX_FILE_BYTES: Final = 1 << 20


def _expression(value: str) -> str:
    try:
        jmespath.compile(value)
    except JMESPathError as error:
        raise ValueError(f"is no JMESPath expression: {str(error).splitlines()[0]}") from None
    return value


def _url(value: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"must be a URL of {' or '.join(schemes)} with a host")
    if parts.username or parts.password:
        raise ValueError("names and passwords don't belong in it; use headers and a reference")
    if named := [name for name, _ in parse_qsl(parts.query) if sounds(name)]:
        raise ValueError(f"{named[0]} sounds like a secret; use params and a reference")
    return value


Expression = Annotated[str, AfterValidator(_expression)]
HttpUrl = Annotated[str, AfterValidator(lambda url: _url(url, ("http", "https")))]
SocketUrl = Annotated[str, AfterValidator(lambda url: _url(url, ("ws", "wss")))]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Common(_Model):
    """What every connector has."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    """names the connector in logs and metrics, and its position: keep it"""
    source: Source | None = None
    """news or social: the topic that the texts go to"""
    channel: Annotated[str, Field(pattern=r"^[\w.:-]{1,64}$")] | None = None
    """channel of the texts; the name, if it is not given"""
    lang: Annotated[str, Field(max_length=35)] | None = None
    """language of texts that don't name theirs, such as `en`"""

    def label(self, source: Source) -> Label:
        """Return what all texts carry; `source` is that of the kind."""
        return Label(self.source or source, self.channel or self.name, self.lang)


class Polled(Common):
    """What is asked over HTTP, again and again."""

    url: HttpUrl
    """what is asked; a private address is allowed here"""
    headers: Values = {}
    """request headers; secrets as {env: NAME} or {file: PATH}, with an optional prefix"""
    params: Values = {}
    """query parameters, likewise"""
    every_s: Annotated[float, Field(ge=0.1, le=86_400)] = 300.0
    """seconds between two requests; some percent more, so that many machines don't come at once"""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    """seconds that a whole answer may take"""
    max_bytes: Annotated[int, Field(ge=1_000, le=64 << 20)] = 4 << 20
    """largest answer, unpacked; a larger one is refused whole"""
    robots: bool = True
    """obey the host's robots.txt"""
    allow_private_redirects: bool = False
    """follow a redirect from a public host to a private address"""
    backlog: Literal["send", "skip"] = "send"
    """what lies there at the very first start: send it (with its own time), or only remember it"""

    @model_validator(mode="after")
    def _no_secret_in_the_open(self) -> Self:
        for field, values in (("headers", self.headers), ("params", self.params)):
            if named := plain_secrets(values):
                raise ValueError(
                    f"{field}.{named[0]} sounds like a secret and stands in the open: "
                    "name an environment variable, {env: NAME}, or a file, {file: PATH}"
                )
        return self


class RssSpec(Polled):
    """A feed: RSS 0.9 to 2.0 or Atom."""

    kind: Literal["rss"]


class Fields(_Model):
    """Where an item of an API holds what; JMESPath, applied to each item."""

    id: Expression
    """the API's own id of the item"""
    text: Expression
    """a string, or a list of strings that are joined by line feeds"""
    published_at: Expression | None = None
    """left out, the time of reading counts"""
    title: Expression | None = None
    url: Expression | None = None
    author: Expression | None = None
    lang: Expression | None = None
    tickers: Expression | None = None
    """a list of symbols"""


class Cursor(_Model):
    """How to ask only for what is new."""

    param: Annotated[str, Field(min_length=1)]
    """query parameter that carries the cursor"""
    next: Expression | None = None
    """where the answer holds the next cursor; or"""
    newest: Expression | None = None
    """where each item holds what is compared: the largest is the next cursor. Only for an API that
    lists all from the cursor on, or the oldest first"""
    start: str | None = None
    """cursor of the very first request; left out, it goes without"""
    pages: Annotated[int, Field(ge=1, le=1000)] = 50
    """most pages read one after the other before the pause of every_s"""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.next is None) == (self.newest is None):
            raise ValueError("give either next or newest")
        return self


class HttpSpec(Polled):
    """A JSON API that lists items."""

    kind: Literal["http"]
    robots: bool = False
    """obey the host's robots.txt; it is meant for crawlers, not for users of an API"""
    items: Expression
    """where the answer holds the list; `@` if it is the list"""
    fields: Fields
    """where an item holds what"""
    times: Literal["iso", "seconds", "milliseconds", "rfc2822"] = "iso"
    """how published_at is written"""
    html: bool = False
    """text and title are HTML and become plain text"""
    cursor: Cursor | None = None
    """how to ask only for what is new; left out, the whole list comes each time"""


class FileSpec(Common):
    """Files that grow: log files, and folders into which files are put."""

    kind: Literal["file"]
    path: Path
    """a file, or a folder"""
    pattern: Annotated[str, Field(pattern=r"^[^/\\]+$")] = "*"
    """which files of a folder"""
    format: Literal["jsonl", "lines"] = "jsonl"
    """a text record of the protocol per line, or plain text per line"""
    encoding: str = "utf-8"
    """of plain lines; bytes that don't fit become replacement characters"""
    start: Literal["beginning", "end"] = "beginning"
    """where files are entered that lie there at the very first start; later ones: the beginning"""
    every_s: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    """seconds between two looks"""
    linger_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """seconds of silence after which a file that was renamed or deleted is given up"""

    @model_validator(mode="after")
    def _lines_end_alike(self) -> Self:
        try:
            ascii_like = codecs.lookup(self.encoding).encode("\n")[0] == b"\n"
        except (LookupError, TypeError, ValueError):
            ascii_like = False
        if not ascii_like:
            raise ValueError(f"encoding: {self.encoding} is unknown, or writes \\n in another way")
        return self


class JetstreamSpec(Common):
    """Bluesky's public stream of posts, or another server that speaks Jetstream."""

    kind: Literal["jetstream"]
    url: SocketUrl = "wss://jetstream2.us-east.bsky.network/subscribe"
    """the server's address, without a query"""
    langs: tuple[str, ...] = ()
    """languages of posts that are kept; none: all"""
    words: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    """posts are kept that hold one of these as a word, in any case; none: all"""
    rewind_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """how far before the cursor a connection begins; what was sent is recognised and dropped"""
    silence_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """seconds without any event after which the connection is made anew"""


Spec = Annotated[RssSpec | HttpSpec | FileSpec | JetstreamSpec, Field(discriminator="kind")]


class Retry(_Model):
    """Pauses after failures: doubled each time, with jitter; a Retry-After that is longer wins."""

    first_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    """about the first pause"""
    longest_s: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    """the longest one"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first_s > self.longest_s:
            raise ValueError("first_s must not be above longest_s")
        return self


class Politeness(_Model):
    """How hosts are treated, however many connectors ask them."""

    user_agent: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,200}$")] = (
        f"tickertone/{version('tickertone')}"
    )
    """who we say we are; add an address at which you can be reached"""
    host_interval_s: Annotated[float, Field(ge=0, le=3600)] = 1.0
    """seconds between two requests to one host; a longer Crawl-delay of its robots.txt wins"""


class ConnectConfig(_Model):
    """The whole file."""

    connectors: tuple[Spec, ...]
    politeness: Politeness = Politeness()
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if not self.connectors:
            raise ValueError("connectors: there is none")
        seen: set[str] = set()
        for spec in self.connectors:
            if spec.name in seen:
                raise ValueError(f"two connectors have the name {spec.name}")
            seen.add(spec.name)
        return self


def load_config(path: Path) -> ConnectConfig:
    """Return what a configuration file says, once all of it is right and every secret is there.

    Raises:
        ConfigurationError: every fault, one a line, with file, connector and field.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} needs a list under the key `connectors`")
    try:
        config = ConnectConfig.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [
            f"{path}: {_where(fault['loc'], document)}{fault['msg'].removeprefix('Value error, ')}"
            for fault in faults
        ]
        raise ConfigurationError("\n".join(lines)) from None
    missing = list(_missing_secrets(config))
    if missing:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in missing))
    return config


def _missing_secrets(config: ConnectConfig) -> list[str]:
    missing = []
    for spec in config.connectors:
        if isinstance(spec, RssSpec | HttpSpec):
            for field, values in (("headers", spec.headers), ("params", spec.params)):
                for name, value in values.items():
                    try:
                        reveal_all({name: value})
                    except ConfigurationError as error:
                        missing.append(f"connector {spec.name}, field {field}.{name}: {error}")
    return missing


def _where(loc: tuple[int | str, ...], document: dict[str, object]) -> str:
    """Return the place of a fault in the words of the file."""
    if len(loc) < 2 or loc[0] != "connectors" or not isinstance(loc[1], int):
        return f"field {'.'.join(map(str, loc))}: " if loc else ""
    listed = document["connectors"]
    entry = listed[loc[1]] if isinstance(listed, list) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    place = f"connector {name}" if isinstance(name, str) else f"connector number {loc[1] + 1}"
    # After the number comes the kind, which tells pydantic the model and people nothing; so do the
    # two ways in which a value may be given.
    inner = [str(part) for part in loc[3:] if part not in (PLAIN, REFERENCE)]
    return f"{place}, field {'.'.join(inner)}: " if inner else f"{place}: "

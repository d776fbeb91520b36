"""Unlabelled tweets for the teacher to label: those of a replay file, as serving would show them.

Only a file whose licence allows it may be used; the StockNet tweets are MIT.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.data.duplicates import near_duplicates
from models.data.reading import unit
from models.training.examples import IGNORED, Example
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.fingerprint import fingerprint
from streams.core.language import language
from streams.core.text import normalise, with_roles

MOST_TARGETS: Final = 5
"""A text about more companies is scored as a whole, as in `streams.pipeline.decode`."""

SOURCE: Final = "replay"


@dataclass(frozen=True, slots=True)
class Tweet:
    """An English tweet of a replay file."""

    text: str
    """normalised"""
    shown: str
    """as the model sees it: with role tokens for one of its companies"""

    @property
    def id(self) -> str:
        """Return the hash of what the model sees, so the file alone gives it again."""
        digest = hashlib.blake2b(self.shown.encode("utf-8", "replace"), digest_size=8)
        return f"tweet/{digest.hexdigest()}"

    def example(self) -> Example:
        """Return the tweet as an example without labels."""
        return Example(self.id, self.shown, "unlabelled", IGNORED, IGNORED, SOURCE)


def read_tweets(replay: Path) -> Iterator[Tweet]:
    """Yield the English tweets of a replay file, each story once, in the file's order.

    Raises:
        ConfigurationError: no such file, or lines that are no events.
    """
    index = EntityIndex.load()
    stories: set[str] = set()
    try:
        with gzip.open(replay, "rt", encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                text = normalise(event["text"])
                spoken = language(text, event.get("lang"))
                if not text or not spoken.scorable or event.get("lang") != "en":
                    continue
                story = fingerprint(text)
                if story not in stories:
                    stories.add(story)
                    yield Tweet(text, _shown(text, index, event.get("tickers") or ()))
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"can't read the replay file: {error}") from None
    except (json.JSONDecodeError, KeyError) as error:
        raise ConfigurationError(f"{replay} is no replay file: {error!r}") from None


def _shown(text: str, index: EntityIndex, tickers: Sequence[str]) -> str:
    entities = index.link(text, tickers)
    marked = [entity for entity in entities if entity.spans]
    if len(entities) > MOST_TARGETS or not marked:
        return text
    target = marked[int(unit(f"target/{text}") * len(marked))]
    others = [span for entity in marked if entity is not target for span in entity.spans]
    return with_roles(text, target.spans, others)


def choose_tweets(
    tweets: Iterable[Tweet],
    held_out: Sequence[str],
    count: int,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Tweet]:
    """Return `count` tweets, fewer if there are fewer, in an order that only their texts decide.

    Left out are those nearly equal to a held-out text, and all but one of those nearly equal to
    each other.

    Args:
        tweets: What to choose from.
        held_out: Texts of validation and test, without role tokens.
        count: How many are wanted.
        on_progress: Called with what is being done, how much of it is done, and how much it is.
    """
    order = sorted(tweets, key=lambda tweet: unit(f"tweet/{tweet.text}"))
    texts = [*held_out, *(tweet.text for tweet in order)]
    pairs = near_duplicates(texts, lambda done: on_progress("comparing texts", done, len(texts)))
    # A pair (i, j) has j < i: held-out texts come first, so the later of two is always a tweet.
    near = {later for later, _ in pairs}
    kept = (tweet for at, tweet in enumerate(order, len(held_out)) if at not in near)
    return [tweet for tweet, _ in zip(kept, range(count), strict=False)]


def tweets_with(ids: Iterable[str], replay: Path) -> list[Example]:
    """Return the tweets with these ids, in the order of the replay file, as examples.

    Raises:
        ConfigurationError: the file lacks some of them.
    """
    wanted = set(ids)
    found = [tweet.example() for tweet in read_tweets(replay) if tweet.id in wanted]
    if len(found) < len(wanted):
        raise ConfigurationError(
            f"{replay} lacks {len(wanted) - len(found)} of the {len(wanted)} tweets that the "
            "teacher labelled: give the file that `tickertone models soften` read"
        )
    return found

"""The sample stream is made anew byte for byte and holds what the demo promises."""

import gzip
from collections import Counter

import pytest

from streams.core.entities import SHIPPED, EntityIndex
from streams.core.records import Text
from streams.core.text import normalise
from streams.samples import COMPANIES, STREAM
from streams.samples.make_day import DAY, make_day

DAY_MS = 86_400_000
LAST = (DAY.toordinal() - 719_163) * DAY_MS  # 719163 is 1970-01-01
LINES = gzip.decompress(STREAM.read_bytes()).splitlines(keepends=True)
TEXTS = [Text.model_validate_json(line) for line in LINES]


@pytest.fixture(scope="module")
def by_company() -> dict[str, list[Text]]:
    index = EntityIndex.load(*SHIPPED, COMPANIES)
    found: dict[str, list[Text]] = {}
    for text in TEXTS:
        for linked in index.link(normalise(text.text), text.tickers or ()):
            found.setdefault(linked.symbol, []).append(text)
    return found


def test_the_committed_file_is_what_the_script_makes() -> None:
    assert make_day() == LINES
    assert STREAM.stat().st_size < 150_000


def test_texts_come_in_time_order_with_ids_of_their_own() -> None:
    times = [text.published_at for text in TEXTS]
    assert times == sorted(times)
    assert len({text.id for text in TEXTS}) == len(TEXTS)
    assert times[-1] < LAST + DAY_MS


def test_thirty_thin_days_come_before_the_day() -> None:
    days = Counter((text.published_at - LAST) // DAY_MS for text in TEXTS)
    assert sorted(days) == list(range(-30, 1))
    assert max(count for day, count in days.items() if day < 0) < 20
    assert 550 <= days[0] <= 700


def test_the_crisis_stands_out_by_unique_stories(by_company: dict[str, list[Text]]) -> None:
    crisis = by_company["AMPV"]
    hours = range(LAST + 13 * 3_600_000, LAST + 17 * 3_600_000)
    stories = {normalise(text.text) for text in crisis if text.published_at in hours}
    assert len(stories) >= 40
    assert sum(text.published_at < LAST for text in crisis) <= 60
    assert len({text.author for text in crisis if text.author}) > 50


def test_no_real_company_is_in_the_news(by_company: dict[str, list[Text]]) -> None:
    for symbol in ("AAPL", "MSFT", "KO", "NOK", "TM"):
        assert by_company.pop(symbol)
    invented = {line.split(",")[0] for line in COMPANIES.read_text("utf-8").splitlines()[1:]}
    assert set(by_company) == invented

"""A source is told by topic id where there is one; what was seen without an id stays the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.errors import StateMismatch
from streams.core.fold import Fold
from streams.core.records import Kind
from streams.core.sources import KnownTopics, source_name, split_source
from streams.core.topics import INPUTS, STATE, VOTES
from streams.core.votes import Marker

ONE, OTHER = "vDt-GHZKTT-Cp0jgXpmZzQ", "ZjEyC0GAQg6og93QlDb_EF"
IDS = st.text("ABCabc019-_", min_size=22, max_size=22) | st.just("")


@given(st.sampled_from(INPUTS), IDS, st.integers(0, 255))
def test_a_source_comes_apart_as_it_was_put_together(topic: str, id_: str, number: int) -> None:
    name, topic_id, plain = split_source(source_name(topic, id_, number))
    assert (name, topic_id, plain) == (topic, id_, f"{topic}/{number}")


def test_a_topic_that_was_made_anew_is_refused_with_the_way_out() -> None:
    known = KnownTopics()
    assert known.plain(f"texts.news.v1@{ONE}/3") == "texts.news.v1/3"
    with pytest.raises(StateMismatch) as raised:
        known.plain(f"texts.news.v1@{OTHER}/3")
    said = str(raised.value)
    assert all(word in said for word in ("texts.news.v1", ONE, OTHER, "TICKERTONE_KAFKA__PREFIX"))
    assert known.ids == {"texts.news.v1": ONE}


def test_a_source_without_an_id_is_the_one_of_the_same_name() -> None:
    known = KnownTopics()
    for source in ("texts.news.v1/0", f"texts.news.v1@{ONE}/0", "texts.news.v1/0"):
        assert known.plain(source) == "texts.news.v1/0"


def test_what_is_refused_once_is_refused_again() -> None:
    known = KnownTopics()
    known.meet({"texts.news.v1": ONE})
    for _ in range(2):
        with pytest.raises(StateMismatch):
            known.plain(f"texts.news.v1@{OTHER}/0")


def test_a_marker_of_a_topic_that_was_made_anew_moves_nothing() -> None:
    fold = Fold(0, 1, 0)
    for offset, id_ in enumerate((ONE, OTHER)):
        source = f"texts.news.v1@{id_}/0"
        marker = Marker(1, {source: (1_700_000_000_000 + offset, None)}, (source,))
        if id_ == ONE:
            fold.apply(offset, 0, Kind.MARKER, marker.to_json(), 0)
        else:
            with pytest.raises(StateMismatch):
                fold.apply(offset, 0, Kind.MARKER, marker.to_json(), 0)
    assert fold.applied == 0
    assert fold.watermark.value == 1_700_000_000_000


@pytest.mark.parametrize("topic", [VOTES, STATE])
def test_state_of_another_votes_or_state_topic_is_not_taken_over(topic: str) -> None:
    fold = Fold(0, 1, 0)
    fold.meet({VOTES: ONE, STATE: ONE})
    rows = {key: value for key, value in fold.take()[1].items() if value is not None}
    assert Fold.restore(rows, 0, 1, 0, {VOTES: ONE, STATE: ONE}).topics == fold.topics
    assert Fold.restore(rows, 0, 1, 0, {VOTES: "", STATE: ""}).topics == fold.topics
    with pytest.raises(StateMismatch, match=rf"{topic} was made anew"):
        Fold.restore(rows, 0, 1, 0, {VOTES: ONE, STATE: ONE, topic: OTHER})

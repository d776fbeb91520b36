"""Unlabelled tweets: shown as serving shows them, without copies, without held-out texts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.training.tweets import MOST_TARGETS, choose_tweets, read_tweets, tweets_with
from streams.core.errors import ConfigurationError
from streams.pipeline import decode


def replay(folder: Path, *texts: str, **fields: Any) -> Path:
    path = folder / "replay.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        for number, text in enumerate(texts):
            event = {"id": str(number), "text": text, "tickers": [], "lang": "en"} | fields
            lines.write(json.dumps(event) + "\n")
    return path


def test_one_company_is_the_target_and_the_others_are_marked(tmp_path: Path) -> None:
    path = replay(tmp_path, "Strong day for $AAPL while $TSLA slips again", "nothing to name today")
    one, other = read_tweets(path)
    assert sorted(one.shown.split()[i] for i in (3, 5)) == ["[O]", "[T]"]
    assert other.shown == other.text == "nothing to name today"


def test_a_text_about_many_companies_stays_as_it_is(tmp_path: Path) -> None:
    tags = " ".join(f"${letter}XYZ" for letter in "ABCDEF")
    (tweet,) = read_tweets(replay(tmp_path, f"on my list: {tags}"))
    assert "[T]" not in tweet.shown
    assert MOST_TARGETS == decode.MOST_TARGETS


def test_only_english_tweets_and_each_story_once(tmp_path: Path) -> None:
    path = replay(
        tmp_path,
        "Strong day for $AAPL https://example.com/1",
        "RT @somebody: Strong day for $AAPL https://example.com/2",
        "株価が上がった",
        "   ",
    )
    assert [tweet.text for tweet in read_tweets(path)] == ["Strong day for $AAPL"]
    foreign = replay(tmp_path, "Starker Tag fuer $AAPL", lang="de")
    assert not list(read_tweets(foreign))


def test_near_copies_of_each_other_and_of_held_out_texts_are_left_out(tmp_path: Path) -> None:
    path = replay(
        tmp_path,
        "Lime Motors recalls nine thousand vans over faulty brakes, shares slide 4%",
        "Lime Motors recalls nine thousand vans over faulty brakes, shares slide 5%!!",
        "North Harbour raises its outlook for the year after a strong quarter in shipping",
        "Quiet session, the desk waits for the minutes of the central bank tonight",
    )
    held_out = ["NORTH HARBOUR raises its outlook for the year after a strong quarter in shipping."]
    chosen = choose_tweets(read_tweets(path), held_out, 10)
    assert sorted(tweet.text.split()[0] for tweet in chosen) == ["Lime", "Quiet"]
    first = choose_tweets(list(read_tweets(path))[::-1], held_out, 1)
    assert first == chosen[:1]


def test_ids_find_their_tweets_again(tmp_path: Path) -> None:
    path = replay(tmp_path, "Strong day for $AAPL", "Weak day for $TSLA")
    ids = [tweet.id for tweet in read_tweets(path)]
    (found,) = tweets_with(ids[1:], path)
    assert (found.id, found.kind, found.text) == (ids[1], "unlabelled", "Weak day for [T]")
    with pytest.raises(ConfigurationError, match="lacks 1 of the 2"):
        tweets_with([ids[0], "tweet/0000000000000000"], path)


def test_a_file_that_is_no_replay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        list(read_tweets(tmp_path / "absent.jsonl.gz"))
    path = tmp_path / "other.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        lines.write('{"title": "no text"}\n')
    with pytest.raises(ConfigurationError, match="no replay file"):
        list(read_tweets(path))

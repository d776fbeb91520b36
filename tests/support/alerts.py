"""Alerts made up for tests."""

from typing import Any

from streams.core.records import Alert, Evidence, Move, Origin, WindowValues

AT = 1_792_108_805_000


def text(number: int, chars: int = 60) -> Evidence:
    return Evidence(
        text_id=f"{number:032x}",
        event_time=AT - number * 1000,
        channel="wire" if number % 2 else "chirp",
        origin=Origin("texts.news.v1", 0, number),
        score=-0.9,
        weight=0.7,
        snippet=("Acme Corp. warns – " * 20)[:chars],
    )


def alert(texts: int = 3, chars: int = 60, **changes: Any) -> Alert:
    """An alert with so many texts, whose contributions are −1, −2, −3 …"""
    movers = [text(number, chars) for number in range(texts)]
    contributions = tuple(-1 - number for number in range(texts))
    move = Move(
        since="window",
        before=0,
        now=sum(contributions) - 7,
        total=sum(contributions) - 7,
        volume=0,
        tone=sum(contributions) - 7,
        novelty=0,
        contributions=contributions,
        remainder=-7,
        remaining_texts=2,
    )
    numbers = WindowValues(
        texts=12,
        stories=10,
        negative=9,
        neutral=2,
        positive=1,
        index=-0.45,
        echo_index=-0.5,
        low=-0.7,
        high=-0.2,
        effective=9.4,
        baseline=-0.12,
        z_tone=-2.3,
        z_volume=11.5,
        evidence=movers[:5],
        move=move,
    )
    fields: dict[str, Any] = {
        "id": "03fd6f314d048a58b8b3271e041754e9",
        "revision": 1,
        "state": "confirmed",
        "severity": "warning",
        "rule": "negative-surge",
        "subject": "ticker:PLUX",
        "window": "8h",
        "first_minute": AT // 60_000,
        "minute": AT // 60_000,
        "summary": "PLUX: 10 stories in 8h, where 0.6 a day are usual",
        "numbers": numbers,
        "move": move,
        "movers": movers,
        "evidence": movers[:5],
        "model": "opinion/1",
        "stages": {"published": AT - 9000, "ingested": AT - 8000, "scored": AT, "alerted": AT},
    }
    return Alert(**{**fields, **changes})

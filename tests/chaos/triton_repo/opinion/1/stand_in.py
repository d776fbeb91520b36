"""What the stand-in thinks of a text: a pure function, cheap, and the same everywhere.

Standard library only: Triton's model process imports it, and so do tests that need no server.
"""

import hashlib
import re

SENTIMENTS = 3
TOPICS = 20
MILLION = 1_000_000

_GOOD = frozenset(
    [
        "beat",
        "beats",
        "boost",
        "gain",
        "gains",
        "good",
        "great",
        "growth",
        "jump",
        "jumps",
        "profit",
        "raises",
        "record",
        "rise",
        "rises",
        "strong",
        "surge",
        "surges",
        "upgrade",
        "win",
        "wins",
    ]
)
_BAD = frozenset(
    [
        "bad",
        "bankruptcy",
        "crash",
        "cut",
        "cuts",
        "default",
        "fall",
        "falls",
        "fraud",
        "halt",
        "halted",
        "lawsuit",
        "loss",
        "losses",
        "miss",
        "misses",
        "plunge",
        "plunges",
        "probe",
        "recall",
        "resigns",
        "sink",
        "sinks",
        "slump",
        "slumps",
        "warning",
        "weak",
    ]
)
_TOPIC_OF = {
    "upgrade": 0,
    "fed": 1,
    "product": 2,
    "recall": 2,
    "bond": 3,
    "dividend": 4,
    "earnings": 5,
    "profit": 5,
    "oil": 6,
    "dollar": 8,
    "gold": 10,
    "lawsuit": 12,
    "fraud": 12,
    "probe": 12,
    "merger": 13,
    "inflation": 14,
    "market": 15,
    "resigns": 17,
    "shares": 19,
}


def predict(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the probabilities of sentiments and topics in 10⁻⁶, each summing to a million.

    Words decide the sentiment and, where one is known, the topic; a hash of the text varies the
    numbers a little, so that no two texts weigh the same.
    """
    words = re.findall(r"[a-z]+", text.lower())
    noise = hashlib.blake2b(text.encode(), digest_size=8).digest()
    bad, good = (sum(word in known for word in words) for known in (_BAD, _GOOD))
    weights = (
        200 + 900 * bad + noise[0],
        900 + noise[1],
        200 + 900 * good + noise[2],
    )
    sentiment = [MILLION * weight // sum(weights) for weight in weights]
    sentiment[1] += MILLION - sum(sentiment)
    named = [_TOPIC_OF[word] for word in words if word in _TOPIC_OF]
    chosen = named[0] if named else noise[3] % TOPICS
    likely = 500_000 + 1_000 * noise[4]
    topic = [(MILLION - likely) // (TOPICS - 1)] * TOPICS
    topic[chosen] += MILLION - sum(topic)
    return tuple(sentiment), tuple(topic)

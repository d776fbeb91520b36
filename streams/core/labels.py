"""The one order of class indices, for training, the served model and the readers of its output."""

from typing import Final

SENTIMENTS: Final = ("negative", "neutral", "positive")

TOPICS: Final = (
    "Analyst Update",
    "Fed | Central Banks",
    "Company | Product News",
    "Treasuries | Corporate Debt",
    "Dividend",
    "Earnings",
    "Energy | Oil",
    "Financials",
    "Currencies",
    "General News | Opinion",
    "Gold | Metals | Materials",
    "IPO",
    "Legal | Regulation",
    "M&A | Investments",
    "Macro",
    "Markets",
    "Politics",
    "Personnel Change",
    "Stock Commentary",
    "Stock Movement",
)

TOPIC_SLUGS: Final = (
    "analyst-update",
    "central-banks",
    "company-news",
    "corporate-debt",
    "dividend",
    "earnings",
    "energy",
    "financial-results",
    "currencies",
    "general-news",
    "materials",
    "ipo",
    "legal",
    "mergers",
    "macro",
    "markets",
    "politics",
    "personnel",
    "stock-commentary",
    "stock-movement",
)
"""Slugs of the topics, in the order of `TOPICS`; a topic subject is `topic:` + its slug."""

MARKET: Final = "market"


def ticker_subject(symbol: str) -> str:
    """Return the subject of a company, such as `ticker:AAPL`."""
    return f"ticker:{symbol}"


def topic_subject(index: int) -> str:
    """Return the subject of the topic with this class index, such as `topic:earnings`."""
    return f"topic:{TOPIC_SLUGS[index]}"


def subject_named(name: str) -> str:
    """Return the subject that a person means: `AAPL`, `$aapl`, `topic:earnings`, `Market`.

    A word without a kind is a ticker; whether there is such a subject is not asked.

    Raises:
        ValueError: no name at all.
    """
    word = name.strip()
    kind, colon, rest = word.partition(":")
    if not colon:
        kind, rest = "ticker", word.removeprefix("$")
    kind, rest = kind.strip().lower(), rest.strip()
    if word.lower() == MARKET:
        return MARKET
    if not rest or kind not in ("ticker", "topic"):
        raise ValueError(f"{name!r} names no subject: AAPL, ticker:AAPL, topic:earnings or market")
    return ticker_subject(rest.upper()) if kind == "ticker" else f"topic:{rest.lower()}"

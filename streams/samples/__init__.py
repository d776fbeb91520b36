"""The sample stream that `tickertone demo` plays; `make_day` writes it."""

from pathlib import Path
from typing import Final

STREAM: Final = Path(__file__).parent / "trading_day.jsonl.gz"
"""Thirty thin days and one trading day with a crisis, as `tickertone replay` reads it."""

COMPANIES: Final = Path(__file__).parent / "companies.csv"
"""The dictionary of the companies invented for it, to be loaded beside the shipped one."""

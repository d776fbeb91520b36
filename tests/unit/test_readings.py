"""What people type after `tickertone export`, judged before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from streams.core.errors import ConfigurationError
from streams.readings import export_windows


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"out": Path("x.txt")}, "end the name in .csv or .parquet"),
        ({"as_of": "yesterday"}, "--as-of 'yesterday' is no ISO 8601 time"),
        ({"since": "14:00"}, "--since '14:00' is no ISO 8601 time"),
        ({"as_of": "2999-01-01"}, "lies ahead"),
        ({"as_of": "9792072800000"}, "lies ahead"),
        ({"window": ["5m", "1h"]}, "--window 1h: there are 5m, 30m, 8h, 24h"),
        ({"subject": ["fx:EUR"]}, "names no subject"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        export_windows(**{"out": Path("x.csv"), **wrong})
    assert complaint in str(caught.value)

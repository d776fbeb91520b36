"""What docs/delivery.md tells receivers works."""

import re
import time
from pathlib import Path
from typing import Any

from streams.delivery.events import alert_message
from streams.delivery.signing import new_secret, signed
from streams.delivery.tokens import PATTERN
from streams.settings_check import load_settings
from tests.support.alerts import alert

PAGE = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_example_takes_what_is_signed_and_nothing_else() -> None:
    space: dict[str, Any] = {}
    exec(block("python"), space)
    secret, other = new_secret(), new_secret()
    message = alert_message(alert(), "urn:tickertone:test")
    headers = signed([secret], message.id, message.body, int(time.time() * 1000))
    text = secret.secret.get_secret_value()
    status, event = space["receive"](headers, message.body, text)
    assert (status, event["id"]) == (204, message.id)
    assert space["receive"](headers, message.body, other.secret.get_secret_value())[0] == 401
    assert space["receive"](headers, message.body + b" ", text)[0] == 401


def test_the_settings_of_the_example_are_read() -> None:
    pairs = re.findall(r"(\w+)='([^']*)'", block("sh"))
    delivery = load_settings(dict(pairs)).delivery
    assert delivery.ports == (443, 8080)
    assert delivery.schemes == ("https", "http")
    assert [str(network) for network in delivery.networks] == ["10.1.0.0/16"]


def test_the_pattern_for_scanners_is_the_codes() -> None:
    assert block("text").strip() == PATTERN.pattern.replace("(", "").replace(")", "")

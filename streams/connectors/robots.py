"""What a host's robots.txt asks of us. Protego reads it as RFC 9309 has it, wildcards included."""

from dataclasses import dataclass
from typing import Any

import protego


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules for one user agent."""

    rules: Any
    agent: str
    delay_s: float
    """seconds between two requests; 0 where it asks for none"""

    def allows(self, url: str) -> bool:
        """Return whether the address may be asked for."""
        return bool(self.rules.can_fetch(url, self.agent))


def parse_robots(text: str, user_agent: str) -> Robots:
    """Return the rules that a robots.txt has for us. Total; an empty text allows everything."""
    product = user_agent.partition("/")[0].split(" ")[0]
    rules = protego.Protego.parse(text)
    delay_s = rules.crawl_delay(product) or 0.0
    rate = rules.request_rate(product)
    if rate is not None and rate.requests > 0:
        delay_s = max(delay_s, rate.seconds / rate.requests)
    return Robots(rules, product, max(delay_s, 0.0))

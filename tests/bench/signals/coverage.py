"""Whether published intervals cover: windows as populations, drawn from again and again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.core.ids import make_id
from streams.core.sums import Tone

SIZES: Final = (3, 5, 10, 20)
LEAST: Final = 30
"""Stories from which a day of a subject is a population."""
DRAWS: Final = 20

Text = tuple[int, int]
"""weight and score"""


@dataclass
class Population:
    """The texts of a subject's day."""

    subject: str
    texts: list[Text] = field(default_factory=list)
    stories: int = 0


def halves(populations: Sequence[Population]) -> tuple[list[Population], list[Population]]:
    """Return the populations of one half of the subjects, to tune on, and of the other."""
    large = [p for p in populations if p.stories >= LEAST]
    tuned = [p for p in large if int(make_id(p.subject)[:8], 16) % 2 == 0]
    return tuned, [p for p in large if p not in tuned]


def coverage(populations: Sequence[Population], size: int) -> tuple[int, float, float]:
    """Return draws, the share whose interval covers the population's index, and the mean width."""
    draw, covered, widths = random.Random(size), 0, 0.0
    count = 0
    for population in populations:
        whole = tone(population.texts).index
        for _ in range(DRAWS):
            sample = tone(draw.choices(population.texts, k=size))
            interval = sample.interval(sample.effective)
            if whole is None or interval is None:
                continue
            count += 1
            covered += interval[0] <= whole <= interval[1]
            widths += interval[1] - interval[0]
    return count, covered / max(count, 1), widths / max(count, 1)


def tone(texts: Sequence[Text]) -> Tone:
    """Return the sums of texts."""
    total = Tone()
    for weight, score in texts:
        total.count(weight, score)
    return total

"""A teacher's soft labels: logits by example id, in one small file without any text.

The file is a compressed npz that needs no pickle: `ids` (strings), `sentiment` and `topic` (float16
logits [examples, classes]), and the checksums of what they were made from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from streams.core.errors import ConfigurationError


@dataclass(frozen=True)
class SoftLabels:
    """Logits of both heads for every example that the teacher has scored."""

    ids: NDArray[np.str_]
    sentiment: NDArray[np.float16]
    """[examples, 3]"""
    topic: NDArray[np.float16]
    """[examples, 20]"""
    teacher: str
    """SHA-256 of the teacher's weights"""
    table: str
    """SHA-256 of the table"""
    replay: str
    """SHA-256 of the replay file; empty where there was none"""
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {name: place for place, name in enumerate(self.ids.tolist())}
        object.__setattr__(self, "_places", places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """Return the row of each example, -1 where the teacher has not scored it."""
        return [self._places.get(name, -1) for name in ids]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        unfinished = path.with_suffix(".new.npz")
        np.savez_compressed(
            unfinished,
            ids=self.ids,
            sentiment=self.sentiment,
            topic=self.topic,
            teacher=np.array(self.teacher),
            table=np.array(self.table),
            replay=np.array(self.replay),
        )
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "SoftLabels":
        """Read what `save` wrote.

        Raises:
            ConfigurationError: there is no such file, or it is none of soft labels.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    ids=file["ids"],
                    sentiment=file["sentiment"],
                    topic=file["topic"],
                    teacher=str(file["teacher"]),
                    table=str(file["table"]),
                    replay=str(file["replay"]),
                )
        except FileNotFoundError:
            raise ConfigurationError(
                f"no soft labels at {path}: make them with `tickertone models soften`"
            ) from None
        except (ValueError, KeyError, BadZipFile) as error:
            raise ConfigurationError(f"{path} holds no soft labels: {error}") from None

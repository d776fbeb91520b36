"""What one TOML file says about a run. Unknown keys are refused, so a typo can't go unnoticed."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.network import MAX_TOKENS
from streams.core.errors import ConfigurationError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Full(_Part):
    """All weights are trained."""

    kind: Literal["full"] = "full"


class LastLayers(_Part):
    """The embeddings and the lowest layers stay as they are."""

    kind: Literal["last_layers"]
    frozen: Annotated[int, Field(ge=0)]
    """number of layers, from the lowest, that are not trained"""


class Lora(_Part):
    """Low-rank updates of the encoder's products, merged into the weights at the end.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    """

    kind: Literal["lora"]
    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    """the update is scaled by alpha / rank"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05


Mode = Annotated[Full | LastLayers | Lora, Field(discriminator="kind")]


class Mix(_Part):
    """Shares of the loss by what a label is about; only their ratios count."""

    text: Annotated[float, Field(ge=0)] = 1.0
    """sentiment of a text as a whole"""
    target: Annotated[float, Field(ge=0)] = 1.0
    """sentiment about one company, with role tokens"""
    topic: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="after")
    def _some(self) -> "Mix":
        if not self.text + self.target + self.topic:
            raise ValueError("at least one share must be above 0")
        return self


class Data(_Part):
    """Which rows of the table are learnt from."""

    mix: Mix = Mix()
    plain: Share = 0.0
    """share of the documents that judge all their companies alike which are also shown without role
    tokens, as texts with that sentiment"""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the training rows that is used, for searches"""


class Optimiser(_Part):
    """AdamW, its learning rates and how long it runs."""

    epochs: Positive
    batch: Annotated[int, Field(ge=1)] = 32
    """texts per forward pass"""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """forward passes per step"""
    learning_rate: Positive
    """of the encoder's highest layer"""
    head_learning_rate: Positive
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """factor on the learning rate from each layer to the one below it"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """of matrices; biases and layer norms have none"""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of the steps in which the rates rise from 0"""
    schedule: Literal["linear", "cosine"] = "linear"
    """how the rates fall to 0 afterwards"""
    clip: Positive = 1.0
    """largest norm of the gradient"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """decay a step of the moving average of the weights, which is what is evaluated and kept; with
    0 it is the weights themselves"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """before the heads"""
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """inside the trained layers"""


class Validation(_Part):
    """When the validation rows are scored, and when that ends the run."""

    per_epoch: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] | None = None
    """end after so many evaluations without a better score; without it the run ends at its end"""
    batch: Annotated[int, Field(ge=1)] = 64


class Distillation(_Part):
    """Learning from a teacher's soft labels, which `tickertone models soften` makes.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    temperature: Positive = 2.0
    hard: Share = 0.5
    """weight of the true label where there is one; the soft label has the rest"""
    unlabelled: Annotated[float, Field(ge=0)] = 1.0
    """weight of a text that only the teacher has labelled, against 1 for the mean labelled one"""


class Augmentation(_Part):
    """Probabilities that a training text is changed in a way, anew in every epoch."""

    typos: Share = 0.0
    case: Share = 0.0
    """all capitals or all small; without effect on encoders that fold case"""
    cashtags: Share = 0.0
    """`$AAPL` becomes `AAPL`, `#AAPL` or `$aapl`"""
    dropped: Share = 0.0
    """one word in ten is left out"""
    names: Share = 0.0
    """companies that are shown without role tokens get other names"""

    def any(self) -> bool:
        """Return whether any text may be changed."""
        return any((self.typos, self.case, self.cashtags, self.dropped, self.names))


class Vary(_Part):
    """One setting that the search varies: a range, or choices."""

    name: str
    """path of the setting, such as `optimiser.learning_rate`"""
    low: float | None = None
    high: float | None = None
    log: bool = False
    """draw the logarithm evenly"""
    choices: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> "Vary":
        ranged = self.low is not None and self.high is not None and self.low < self.high
        if ranged == bool(self.choices):
            raise ValueError("give low < high, or choices")
        return self


class Search(_Part):
    """A small hyper-parameter search."""

    trials: Annotated[int, Field(ge=1)]
    vary: Annotated[tuple[Vary, ...], Field(min_length=1)]


class RunConfig(_Part):
    """A run, as its TOML file describes it."""

    encoder: str
    """`minilm`, `mpnet` or the path of a folder"""
    seed: int = 1
    max_tokens: Annotated[int, Field(ge=8, le=512)] = MAX_TOKENS
    precision: Literal["fp32", "bf16"] = "bf16"
    """of the products, by autocast; weights, averages and losses are fp32"""
    mode: Mode = Full()
    data: Data = Data()
    optimiser: Optimiser
    validation: Validation = Validation()
    checkpoint_steps: Annotated[int, Field(ge=1)] = 200
    log_steps: Annotated[int, Field(ge=1)] = 20
    distillation: Distillation | None = None
    augmentation: Augmentation = Augmentation()
    adversarial: Annotated[float, Field(ge=0)] = 0.0
    """norm of the step that moves the embeddings against the model (FGM), in every training step;
    Miyato, Dai, Goodfellow, "Adversarial Training Methods for Semi-Supervised Text Classification",
    ICLR 2017. Doubles the time"""
    search: Search | None = None

    @model_validator(mode="after")
    def _fits(self) -> "RunConfig":
        if self.adversarial and self.mode.kind != "full":
            raise ValueError("adversarial moves the embeddings, so it needs mode.kind = 'full'")
        return self


CONFIG: Final = "config.toml"


def read_config(path: Path) -> RunConfig:
    """Read the TOML file of a run.

    Raises:
        ConfigurationError: no such file, no TOML, or settings that are wrong; all are named.
    """
    try:
        return parse_config(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise ConfigurationError(f"can't read the run's description: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None


def parse_config(settings: dict[str, Any], place: str) -> RunConfig:
    """Return the run that nested settings describe.

    Args:
        settings: As TOML gives them.
        place: What to call them in an error.

    Raises:
        ConfigurationError: settings that are wrong; all are named.
    """
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(map(str, fault['loc'])) or 'the whole'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(f"{place}:\n{faults}") from None

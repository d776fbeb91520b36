"""Run descriptions: the shipped ones are read, wrong ones are refused with all faults named."""

from pathlib import Path

import pytest

from models.training.config import read_config
from streams.core.errors import ConfigurationError

RUNS = Path(__file__).parents[3] / "models" / "runs"
SMALLEST = "[optimiser]\nepochs = 1\nlearning_rate = 1e-4\nhead_learning_rate = 1e-3\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_run_is_read(path: Path) -> None:
    assert read_config(path).encoder in ("minilm", "mpnet")


def test_the_student_is_distilled_and_the_teacher_is_not() -> None:
    assert read_config(RUNS / "student.toml").distillation is not None
    assert read_config(RUNS / "teacher.toml").distillation is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('encoder = "minilm"\nsead = 2\n' + SMALLEST, "sead"),
        ('encoder = "minilm"\n' + SMALLEST + "bacth = 3\n", "optimiser.bacth"),
        ('encoder = "minilm"\n', "optimiser"),
        ('encoder = "minilm"\n' + SMALLEST + 'schedule = "sine"\n', "optimiser.schedule"),
        ('encoder = "minilm"\n' + SMALLEST + '[mode]\nkind = "half"\n', "mode"),
        ('encoder = "minilm"\n' + SMALLEST + "[data.mix]\ntext=0\ntarget=0\ntopic=0\n", "data.mix"),
        ('encoder = "minilm"\n' + SMALLEST + '[mode]\nkind = "full"\nfrozen = 2\n', "frozen"),
        (
            'encoder = "minilm"\nadversarial = 1\n' + SMALLEST + '[mode]\nkind = "lora"\n',
            "adversarial",
        ),
        (
            'encoder = "minilm"\n' + SMALLEST + "[search]\ntrials = 2\n"
            '[[search.vary]]\nname = "seed"\nlow = 3\nhigh = 1\n',
            "search.vary.0",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named.replace(".", r"\.")):
        read_config(written(tmp_path, text))


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = 'encoder = "minilm"\nsead = 2\n' + SMALLEST.replace("epochs = 1", "epochs = -1")
    with pytest.raises(ConfigurationError) as caught:
        read_config(written(tmp_path, text))
    assert "sead" in str(caught.value)
    assert "optimiser.epochs" in str(caught.value)


def test_no_file_and_no_toml_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        read_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigurationError, match="no TOML"):
        read_config(written(tmp_path, "encoder = \n"))

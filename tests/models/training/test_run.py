"""Whole runs of a tiny encoder: every mode, resume, the folder, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from models.data.table import MANIFEST
from models.network import load_network, new_network
from models.training.config import read_config
from models.training.curves import read_log
from models.training.run import Inputs, train
from models.training.trainer import CHECKPOINTS, Rhythm, last_checkpoint
from streams.core.errors import ConfigurationError

Describe = Callable[..., Path]
MODES = {
    "full": "[mode]\nkind = 'full'\n",
    "last_layers": "[mode]\nkind = 'last_layers'\nfrozen = 1\n",
    "lora": "[mode]\nkind = 'lora'\nrank = 4\nalpha = 8\n",
}


def quiet(line: str) -> None:
    """Take a line meant for people."""


class Cut(Exception):
    """The power goes out."""


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the next run die in the middle of a step."""
    whole = Rhythm.on_step_end

    def failing(self: Rhythm, args: object, state: object, *rest: object, **named: object) -> None:
        if state.global_step == step:  # type: ignore[attr-defined]
            raise Cut
        whole(self, args, state, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Rhythm, "on_step_end", failing)


def test_a_run_leaves_what_a_run_folder_holds(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said: list[str] = []
    description = describe(epochs=2, optimiser="average = 0.9")
    report = train(description, Inputs(table), out, say=said.append)
    assert (out / "config.toml").read_text() == description.read_text()
    assert json.loads((out / "metrics.json").read_text()) == report
    assert report["steps"] == 24
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((out / "data.json").read_text())
    assert data["table_sha256"] == json.loads((table / MANIFEST).read_text())["table_sha256"]
    log = read_log(out)
    assert [entry["step"] for entry in log if "score" in entry] == [12, 24]
    assert log[0]["loss"] > [entry for entry in log if "loss" in entry][-1]["loss"]
    assert any("min left" in line for line in said)
    assert not list((out / CHECKPOINTS).rglob("*.bin"))


def test_a_run_learns_and_keeps_its_best_evaluation(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    report = train(describe(epochs=4), Inputs(table), tmp_path / "run", say=quiet)
    checks = [entry for entry in read_log(tmp_path / "run") if "score" in entry]
    assert report["score"] == max(entry["score"] for entry in checks)
    assert report["valid"]["own_sentiment_target"]["accuracy"] > 0.9
    network, tokenizer = load_network(tmp_path / "run")
    inputs = tokenizer(["shares of [T] sink after weak results"], return_tensors="pt")
    sentiment, topic = network(inputs.input_ids, inputs.attention_mask)
    assert int(sentiment.argmax()) == 0
    assert topic.shape == (1, 20)


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_run_ends_as_an_undisturbed_one(
    mode: str, describe: Describe, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "average = 0.9\naccumulation = 2\nlayer_decay = 0.9\nencoder_dropout = 0.1"
    extra = MODES[mode] + "[augmentation]\ntypos = 0.5\n[data]\nplain = 0.5\n"
    description = describe(extra, options, epochs=2)
    undisturbed = train(description, Inputs(table), tmp_path / "whole", say=quiet)
    with monkeypatch.context() as patch:
        cut_at(patch, 10)
        with pytest.raises(Cut):
            train(description, Inputs(table), tmp_path / "cut", say=quiet)
    start = last_checkpoint(tmp_path / "cut")
    assert start is not None
    assert start.name == "checkpoint-8"
    said: list[str] = []
    resumed = train(description, Inputs(table), tmp_path / "cut", resume=True, say=said.append)
    assert "going on from checkpoint-8" in said
    assert resumed["score"] == pytest.approx(undisturbed["score"], abs=1e-9)
    ends = [max((tmp_path / name / CHECKPOINTS).iterdir(), key=number) for name in ("whole", "cut")]
    for file in ("model.safetensors", "average.safetensors"):
        one, other = (load_file(end / file) for end in ends)
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=1e-7)
    logs = [read_log(tmp_path / name) for name in ("whole", "cut")]
    assert [entry["step"] for entry in logs[0]] == [entry["step"] for entry in logs[1]]
    rates = [[entry.get("learning_rate") for entry in log] for log in logs]
    assert rates[0] == rates[1]


def number(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def test_a_run_resumes_between_epochs_and_before_its_first_checkpoint(
    describe: Describe, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = describe(epochs=2)
    undisturbed = train(description, Inputs(table), tmp_path / "whole", say=quiet)
    for step in (14, 3):  # the checkpoint before 14 is that of the first epoch's end, at 12
        out = tmp_path / f"cut-{step}"
        with monkeypatch.context() as patch:
            cut_at(patch, step)
            with pytest.raises(Cut):
                train(description, Inputs(table), out, say=quiet)
        resumed = train(description, Inputs(table), out, resume=True, say=quiet)
        assert resumed["valid_loss"] == pytest.approx(undisturbed["valid_loss"], abs=1e-7)


def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((4, '{"global_step": 4}'), (8, '{"glo'), (12, None)):
        folder = tmp_path / CHECKPOINTS / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / CHECKPOINTS / "checkpoint-4"
    assert [folder.name for folder in (tmp_path / CHECKPOINTS).iterdir()] == ["checkpoint-4"]


def test_only_what_the_mode_names_is_changed(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    for mode, extra in MODES.items():
        description = describe(extra)
        train(description, Inputs(table), tmp_path / mode, say=quiet)
        trained = load_network(tmp_path / mode)[0].state_dict()
        base = new_network(read_config(description).encoder)[0].state_dict()
        assert trained.keys() == base.keys()
        changed = {name for name in base if not torch.equal(base[name], trained[name])}
        assert any(".layer.1." in name and "query.weight" in name for name in changed)
        lower = any(".layer.0." in name for name in changed)
        table_changed = any("word_embeddings" in name for name in changed)
        assert (lower, table_changed) == {
            "full": (True, True),
            "last_layers": (False, False),
            "lora": (True, False),
        }[mode]


def test_frozen_layers_have_no_dropout_in_training(encoder: Path) -> None:
    from models.training.config import LastLayers
    from models.training.modes import prepare

    network, _ = new_network(str(encoder), encoder_dropout=0.5)
    prepare(network, LastLayers(kind="last_layers", frozen=1))
    network.train()
    layers = network.encoder.encoder.layer
    assert not any(part.training for part in layers[0].modules() if list(part.parameters()))
    assert layers[1].training
    with pytest.raises(ConfigurationError, match="2 layers"):
        prepare(network, LastLayers(kind="last_layers", frozen=3))


def test_rates_fall_from_the_heads_to_the_embeddings(encoder: Path, describe: Describe) -> None:
    from models.training.modes import parameter_groups

    network, _ = new_network(str(encoder))
    options = read_config(describe(optimiser="layer_decay = 0.5\nweight_decay = 0.02")).optimiser
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    rates = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(network, options)
        for parameter in group["params"]  # type: ignore[attr-defined]
    }
    assert rates.keys() == {name for name, _ in network.named_parameters()}
    assert rates["sentiment.weight"] == (1e-2, 0.02)
    assert rates["topic.bias"] == (1e-2, 0.0)
    assert rates["encoder.encoder.layer.1.output.dense.weight"] == (1e-3, 0.02)
    assert rates["encoder.encoder.layer.0.output.LayerNorm.weight"] == (5e-4, 0.0)
    assert rates["encoder.embeddings.word_embeddings.weight"] == (2.5e-4, 0.02)


def test_role_tokens_start_from_words_the_encoder_knows(encoder: Path) -> None:
    network, tokenizer = new_network(str(encoder))
    weights = network.encoder.get_input_embeddings().weight
    for role, word in (("[T]", "company"), ("[O]", "others")):
        known, own = tokenizer.convert_tokens_to_ids([word, role])
        assert torch.equal(weights[own], weights[known])


def test_bf16_and_adversarial_steps_learn_too(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    description = describe("adversarial = 0.5\n", epochs=3)
    description.write_text(description.read_text().replace("fp32", "bf16"))
    report = train(description, Inputs(table), tmp_path / "run", say=quiet)
    assert report["valid"]["own_sentiment_text"]["accuracy"] > 0.9
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert {part.dtype for part in weights.values()} == {torch.float32}


def test_an_adversarial_step_leaves_the_embeddings_where_they_were(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    """With rates of almost zero nothing may move, however large the perturbation."""
    description = describe("adversarial = 100.0\n")
    text = description.read_text().replace("learning_rate = 1e-", "learning_rate = 1e-2")
    description.write_text(text)
    train(description, Inputs(table), tmp_path / "run", say=quiet)
    trained = load_network(tmp_path / "run")[0]
    base = new_network(read_config(description).encoder)[0]
    for name in ("encoder.embeddings.word_embeddings.weight",):
        torch.testing.assert_close(trained.state_dict()[name], base.state_dict()[name])


def test_a_run_stops_when_validation_no_longer_gets_better(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    report = train(
        describe("[validation]\npatience = 2\nper_epoch = 2\n", epochs=30),
        Inputs(table),
        tmp_path / "run",
        say=quiet,
    )
    scores = [entry["score"] for entry in read_log(tmp_path / "run") if "score" in entry]
    assert len(scores) < 60
    assert len(scores) - 1 - scores.index(max(scores)) == 2
    assert report["score"] == max(scores)


def test_a_folder_with_a_run_is_not_overwritten(
    describe: Describe, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description, out = describe(), tmp_path / "run"
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(Cut):
            train(description, Inputs(table), out, say=quiet)
    with pytest.raises(ConfigurationError, match="--resume"):
        train(description, Inputs(table), out, say=quiet)
    with pytest.raises(ConfigurationError, match="started with"):
        train(describe(epochs=3), Inputs(table), out, resume=True, say=quiet)
    other = shutil.copytree(table, tmp_path / "table")
    manifest = json.loads((other / MANIFEST).read_text())
    manifest["sets"] = {"own": {"sha256": "0" * 64}}
    (other / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"not those.*sets"):
        train(description, Inputs(other), out, resume=True, say=quiet)


def test_a_changed_table_is_noticed(describe: Describe, table: Path, tmp_path: Path) -> None:
    other = shutil.copytree(table, tmp_path / "table")
    with (other / "table.jsonl.gz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ConfigurationError, match="not the table"):
        train(describe(), Inputs(other), tmp_path / "run", say=quiet)


def test_seeds_decide(describe: Describe, table: Path, tmp_path: Path) -> None:
    losses = []
    for place, seed in enumerate((1, 1, 2)):
        out = tmp_path / str(place)
        losses.append(train(describe(f"seed = {seed}\n"), Inputs(table), out, say=quiet))
    assert losses[0]["valid_loss"] == losses[1]["valid_loss"] != losses[2]["valid_loss"]


def test_it_is_the_trainer_of_transformers() -> None:
    from models.training.trainer import OpinionTrainer

    assert issubclass(OpinionTrainer, transformers.Trainer)

"""What people type to make and measure a model: `tickertone data`, and what joins it here.

`tickertone` finds `app` by its entry point, so the service never imports this package. Commands
import what they need when they run: `tickertone --help` must not wait for PyTorch, and the service
is installed without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from streams.core.errors import ConfigurationError

app = typer.Typer()
data_app = typer.Typer(no_args_is_help=True, help="The labelled sets that a model learns from.")
app.add_typer(data_app, name="data")
models_app = typer.Typer(no_args_is_help=True, help="Making the model that is served.")
app.add_typer(models_app, name="models")
console = Console()
errors = Console(stderr=True)

_TableOption = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Folder of the table (`tickertone data prepare`).",
        file_okay=False,
        exists=True,
    ),
]
_SoftOption = Annotated[
    Path | None,
    typer.Option(
        "--soft", help="The teacher's labels (`tickertone models soften`).", dir_okay=False
    ),
]
_ReplayOption = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        help="File of unlabelled tweets whose licence allows it, such as "
        "replay_tweets_2014_2015.jsonl.gz.",
        dir_okay=False,
        exists=True,
    ),
]


@contextmanager
def training_side() -> Iterator[None]:
    """Explain what to install where a library of the extra `train` is missing.

    Raises:
        ConfigurationError: a module that is not ours cannot be found.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("models", "streams"):
            raise
        raise ConfigurationError(
            f"{error.name} is not installed: this command needs the training side, "
            "pip install 'tickertone[train]'"
        ) from error


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each piece of work; call what is yielded with its name, done and total."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
    ) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield advance


@data_app.command("prepare")
def data_prepare(
    source: Annotated[
        Path, typer.Option("--from", help="Folder of the sets: <name>.jsonl.gz.", file_okay=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the result.", file_okay=False)],
    all_licences: Annotated[
        bool,
        typer.Option(
            "--all-licences",
            help="Let sets train whose licence forbids commercial use. Weights from such a table "
            "must not be given away.",
        ),
    ] = False,
    languages: Annotated[
        str, typer.Option(help="Languages of the sets to read, separated by commas.")
    ] = "en",
) -> None:
    """Make one table of all labelled sets: normalised, split, without leaks, with checksums.

    Near-duplicates stand in one split. Sets for research only are evaluated (split test) and
    train nothing unless --all-licences is given. models/README.md says what the folder must hold.
    """
    with training_side():
        from models.data.prepare import prepare

    chosen = {name.strip() for name in languages.split(",")}
    with progress() as on_progress:
        manifest = prepare(
            source, out, all_licences=all_licences, languages=chosen, on_progress=on_progress
        )
    table = Table("set", "licence", "train", "valid", "test", "dropped", box=None)
    for name, entry in manifest["sets"].items():
        splits = (entry["splits"].get(split, {}) for split in ("train", "valid", "test"))
        counts = [*(sum(labels.values()) for labels in splits), sum(entry["dropped"].values())]
        table.add_row(name, entry["licence"], *map(str, counts))
    console.print(table)
    checked = manifest["leak_check"]
    console.print(
        f"{manifest['rows']} rows; {checked['texts']} texts compared, "
        f"{checked['pairs']} near-duplicates across splits"
    )
    console.print(f"Why rows were dropped, and all checksums: {out / 'manifest.json'}")
    if not manifest["may_be_given_away"]:
        console.print("[yellow]Weights trained on this table must not be given away.[/]")


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the table.", file_okay=False, exists=True)
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="A run folder, a version folder such as triton_repo/opinion/1, or host:port of a "
            "Triton.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the result.", file_okay=False)],
    against: Annotated[
        str | None, typer.Option("--against", help="Another model, compared on the same rows.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="The run that made MODEL, for the card.", exists=True),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the intervals' draws.")] = 1,
) -> None:
    """Measure a model on texts that trained nothing: metrics.json, report.md, pictures, card.

    Accuracy and F1 with intervals, calibration, robustness, name swaps through the whole path, and
    baselines on the same rows. Answers are kept in OUT/cache, so a second run takes seconds.
    """
    with training_side():
        from models.evaluation.run import REPORT
        from models.evaluation.run import evaluate as measure

    with Progress(
        TextColumn("{task.description}"), TextColumn("{task.completed} texts scored"),
        TimeElapsedColumn(), console=errors,
    ) as bar:  # fmt: skip
        task = bar.add_task("reading the table", total=None)
        measure(
            data,
            model,
            out,
            against=against,
            run=run,
            seed=seed,
            say=lambda what: bar.update(task, description=what),
            progress=lambda texts: bar.advance(task, texts),
        )
    console.print(f"{out / REPORT}")


@models_app.command("train")
def models_train(
    description: Annotated[
        Path,
        typer.Argument(
            metavar="RUN.toml",
            help="What to train: models/runs/teacher.toml, models/runs/student.toml or your own.",
        ),
    ],
    data: _TableOption,
    out: Annotated[Path, typer.Option("--out", help="Run folder; made.", file_okay=False)],
    soft: _SoftOption = None,
    replay: _ReplayOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
) -> None:
    """Fine-tune an encoder as a TOML file says; on a GPU if there is one.

    A run that was stopped goes on with --resume and ends as if it had not been. A run with
    [distillation] needs --soft, and --replay if the teacher labelled tweets.
    """
    with training_side():
        from models.training.run import METRICS, Inputs, train

    say = partial(console.print, highlight=False, soft_wrap=True)
    report = train(description, Inputs(data, soft, replay), out, resume=resume, say=say)
    table = Table("set", "rows", "accuracy", "macro F1", "weighted F1")
    for name, part in report["valid"].items():
        figures = (f"{part[key]:.4f}" for key in ("accuracy", "macro_f1", "weighted_f1"))
        table.add_row(name, str(part["rows"]), *figures)
    console.print(table)
    console.print(
        f"best after epoch {report['epoch']:g}, of {report['steps']} steps in "
        f"{report['seconds'] / 60:.0f} min; {out / METRICS}"
    )


@models_app.command("soften")
def models_soften(
    teacher: Annotated[
        Path,
        typer.Option("--teacher", help="Run folder of the teacher.", file_okay=False, exists=True),
    ],
    data: _TableOption,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the result, soft.npz.", file_okay=False)
    ],
    replay: _ReplayOption = None,
    tweets: Annotated[int, typer.Option("--tweets", help="How many of the replay file.")] = 30_000,
) -> None:
    """Let a teacher label the training texts, and tweets of a replay file, for distillation.

    A run that was stopped goes on when it is started again. The result holds ids and logits, no
    text.
    """
    with training_side():
        from models.training.soften import SOFT
        from models.training.soften import soften as run

    with progress() as on_progress:
        soft = run(teacher, data, out, replay=replay, tweets=tweets, on_progress=on_progress)
    console.print(f"{len(soft.ids)} texts labelled; {out / SOFT}")


@models_app.command("search")
def models_search(
    description: Annotated[
        Path, typer.Argument(metavar="RUN.toml", help="A run with a [search] section.")
    ],
    data: _TableOption,
    out: Annotated[Path, typer.Option("--out", help="Folder of the search.", file_okay=False)],
    soft: _SoftOption = None,
    replay: _ReplayOption = None,
) -> None:
    """Try settings of a run and say which are best. Started again, it goes on.

    [search] names the number of trials and what varies, such as optimiser.learning_rate; set
    data.share to try on a part of the rows.
    """
    with training_side():
        from models.training.run import Inputs
        from models.training.search import RESULT
        from models.training.search import search as run

    say = partial(console.print, highlight=False, soft_wrap=True)
    result = run(description, Inputs(data, soft, replay), out, say=say)
    table = Table("setting", "best")
    for name, value in result["best"]["settings"].items():
        table.add_row(name, f"{value:g}")
    console.print(table)
    console.print(f"score {result['best']['score']:.4f}; {out / RESULT}")


_RepositoryOption = Annotated[
    Path,
    typer.Option(
        "--out", help="A Triton repository; its model opinion gets a version.", file_okay=False
    ),
]
_PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="int8 for CPUs, float to compare with, half for GPUs (CUDA provider)."
    ),
]
_GatesOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="A prepared table. Its training texts calibrate int8, its validation texts are what "
        "the gates are tried on; without it, texts made up for this project.",
        file_okay=False,
        exists=True,
    ),
]


@models_app.command("export")
def models_export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", file_okay=False)],
    out: _RepositoryOption,
    precision: _PrecisionOption = "int8",
    data: _GatesOption = None,
) -> None:
    """Write a trained network as the next version that Triton serves, with config.pbtxt.

    Nothing is written unless a text's score is the same in any batch, and classes, probabilities
    and F1 are those of the checkpoint in float32, within limits that are printed beside the
    figures.
    """
    with training_side():
        from models.export.runs import export_run

    precise = _precision(precision)
    with progress() as on_progress:
        folder = export_run(
            run, out, precision=precise, data=data, on_progress=on_progress, on_report=_show_gates
        )
    console.print(f"{folder}: served from the next start of Triton on", soft_wrap=True)


@models_app.command("import")
def models_import(
    where: Annotated[str, typer.Argument(metavar="DIR_OR_HUB_ID")],
    out: _RepositoryOption,
    task: Annotated[str, typer.Option("--task", help="What it judges: sentiment.")] = "sentiment",
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            help="What its label names mean, such as LABEL_0=negative,LABEL_1=neutral. Names like "
            "bearish or POS are known.",
        ),
    ] = "",
    precision: _PrecisionOption = "int8",
    data: _GatesOption = None,
) -> None:
    """Make a Hugging Face sequence classifier servable like our own, through the same gates.

    BERT, DistilBERT, RoBERTa, XLM-RoBERTa and CamemBERT, with a fast tokenizer. It has no topics,
    so the service makes no votes about topics while it is served.
    """
    with training_side():
        from models.export.hub import parse_labels
        from models.export.runs import import_checkpoint

    if task != "sentiment":
        raise ConfigurationError(f"--task {task}: only sentiment classifiers can be imported")
    precise = _precision(precision)
    with progress() as on_progress:
        folder = import_checkpoint(
            where,
            out,
            labels=parse_labels(labels),
            precision=precise,
            data=data,
            on_progress=on_progress,
            on_report=_show_gates,
        )
    console.print(f"{folder}: served from the next start of Triton on", soft_wrap=True)


def _precision(text: str) -> Any:
    known = ("int8", "float", "half")
    if text not in known:
        raise ConfigurationError(f"--precision {text}: give one of {', '.join(known)}")
    return text


def _show_gates(report: Any) -> None:
    """Print what the gates measured, beside what they allow."""
    found = report.as_json()
    limits = found["limits"]
    table = Table("gate", "measured", "allowed", title=f"{report.texts} texts")
    table.add_row(
        f"{report.batch_texts} texts alone and in {report.batches} batches, largest |Δs|",
        f"{found['batch_score']:.6f}",
        f"{limits['batch_score']:g}",
    )
    for name in found["agreement"]:
        table.add_row(
            f"{name}: same class as the checkpoint",
            f"{found['agreement'][name]:.4f}",
            f"≥ {limits['agreement']:g}",
        )
        table.add_row(f"{name}: |Δp| of 99 %", f"{found['p99'][name]:.4f}", f"{limits['p99']:g}")
    for name, (before, after) in found["f1"].items():
        table.add_row(
            f"{name}: weighted F1, checkpoint → this ({found['rows'][name]} texts)",
            f"{before:.4f} → {after:.4f}",
            f"-{limits['f1']:g}",
        )
    console.print(table)

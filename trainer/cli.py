"""The command ``trainer``: parse, call the library, say what happened.

Torch is imported by the command that needs it, so that help and ``sample`` start at once.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from msgspec import UNSET, to_builtins

from runtime.io.paths import STANDARD_STREAM
from runtime.io.sinks import open_sinks
from runtime.schema.features import Unseen  # noqa: TC001 - typer reads it
from runtime.tables.options import parse_read_options
from runtime.terminal import process
from runtime.terminal.options import (
    DEFAULT_RUN,
    DecimalOption,
    DelimiterOption,
    EncodingOption,
    JsonOption,
    new_app,
    split_names,
)
from trainer.config import (
    CHECKPOINT_EVERY_S,
    ClassWeights,
    DeviceChoice,
    Optimiser,
    Options,
    Preset,
    configure,
    parse_widths,
    suit_table,
)
from trainer.config_file import take_defaults
from trainer.interrupts import advice_to_go_on
from trainer.ranks.team import in_team
from trainer.schedule import GRAMMAR
from trainer.seeds import DEFAULT_SEED
from trainer.table.source import TableSource, name_table

if TYPE_CHECKING:
    from trainer.data import Dataset
    from trainer.pipeline import Outcome

SampleOption = Annotated[
    Path, typer.Option(help="The CSV file to write; - is standard output.", readable=False)
]

DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Your table: CSV, TSV, JSON Lines, Parquet or Arrow (default: synthetic products).",
        readable=False,
    ),
]
TestOption = Annotated[
    Path | None, typer.Option(help="A table of rows to judge by.", readable=False)
]

app = new_app("trainer", "Fit a classifier and leave a run that the exporter starts from.")


@app.command()
def sample(
    rows: Annotated[int, typer.Option(help="How many products.")],
    out: SampleOption,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = DEFAULT_SEED,
) -> None:
    """Write synthetic products: price, rating, popular."""
    from trainer.sample import write_sample

    with process.exit_on_broken_pipe(), open_sinks() as open_sink:
        sink = open_sink(out)
        write_sample(sink, rows, seed=seed)
        sink.flush()
    where = "standard output" if out == STANDARD_STREAM else str(out)
    process.log(f"{rows:,} products written to {where}")


@app.command()
def fit(
    data: DataOption = None,
    label: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Columns to predict from, separated by commas (default: all others)."),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(help="Columns to leave out, separated by commas.")
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(help="Columns of categories that look like numbers, separated by commas."),
    ] = None,
    unseen: Annotated[
        Unseen | None,
        typer.Option(
            help="A category that training did not have: error makes it a bad cell (default), "
            "other none of those that it had; of booleans always a bad cell."
        ),
    ] = None,
    test: TestOption = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Of each class, to judge by (default: 0.2).")
    ] = None,
    table_format: Annotated[
        str | None,
        typer.Option("--format", help="Of the tables (default: by their names)."),
    ] = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    decimal: DecimalOption = ".",
    out: Annotated[Path, typer.Option(help="The run's folder; an older run is replaced.")] = (
        DEFAULT_RUN
    ),
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="default standardises the features inside the network; "
            "tutorial fits the raw features slowly, as the tutorial does (default: default)."
        ),
    ] = None,
    device: Annotated[
        DeviceChoice, typer.Option(help="Where to fit; auto takes CUDA where it is and says so.")
    ] = "auto",
    seed: Annotated[
        int | None, typer.Option(help=f"Same seed, same weights (default: {DEFAULT_SEED}).")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers, e.g. 64,64 (default: 32).")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training rows (default: the preset's, of a small table more)."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows a step (default: the preset's).")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of gradient descent (default: the preset's).")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help=f"Of the learning rate: {GRAMMAR} (default: constant).")
    ] = None,
    optimiser: Annotated[Optimiser | None, typer.Option(help="(default: sgd)")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Pull of all weights towards zero (default: 0).")
    ] = None,
    class_weights: Annotated[
        ClassWeights | None,
        typer.Option(help="balanced lets all classes count the same (default: none)."),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Share of the training rows that only choose the best epoch."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without a better one, by --validation, to end after."),
    ] = None,
    logdir: Annotated[
        Path | None,
        typer.Option(help="Where TensorBoard's files go, live (default: into the run)."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up the fit that was cut off.")
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between two checkpoints.", min=0)
    ] = CHECKPOINT_EVERY_S,
    config: Annotated[  # noqa: ARG001 - its callback has read it
        Path | None,
        typer.Option(
            help="A TOML file of these options, for those that are not given.",
            readable=False,
            is_eager=True,
            callback=take_defaults,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit SimpleNet to your table, or to synthetic products.

    Of these 800 are to learn from and 200 to judge by; popular is price + rating > 10.
    """
    given = Options(
        hidden=parse_widths(hidden),
        learning_rate=learning_rate,
        schedule=schedule,
        optimiser=optimiser,
        weight_decay=weight_decay,
        class_weights=class_weights,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        patience=patience,
        seed=seed,
    )
    columns = {"--features": features, "--exclude": exclude, "--categories": categories}
    beside = columns | {"--unseen": unseen, "--test": test, "--test-fraction": test_fraction}
    named = name_table(data, label, beside)
    source = named and TableSource(
        *named,
        features=split_names(features),
        exclude=split_names(exclude) or (),
        categories=split_names(categories) or (),
        unseen=unseen or "error",
        test=test,
        test_fraction=test_fraction,
        reading=parse_read_options(table_format, delimiter, encoding, decimal, loose=False),
    )
    configuration = None if resume else configure(preset or "default", **given)
    from trainer.attempt import Saving
    from trainer.evaluation_table import describe_evaluation
    from trainer.example import answer_example
    from trainer.pipeline import make_run
    from trainer.progress import show_epochs
    from trainer.resuming import describe_start, is_unfinished, resume_options

    configuration = configuration or resume_options(out, preset, given)
    if start := describe_start(out, resume=resume):
        process.log(start)
    dataset = _read(source, configuration.seed) if source else None
    if dataset and not (resume and is_unfinished(out)):
        configuration = suit_table(configuration, given, len(dataset.rows.train_labels))
    saving = Saving(logdir, resume, checkpoint_every)
    with advice_to_go_on(), show_epochs(configuration.epochs) as watch:
        outcome = make_run(out, configuration, dataset, device=device, saving=saving, watch=watch)
    if as_json:
        process.echo(process.compact_json(_values(outcome, out)))
    elif source is None:
        process.echo(answer_example(outcome.run.model))
    if not as_json:
        process.log(describe_evaluation(outcome.evaluation, sys.stderr))
        process.log(_describe(outcome, out))


def _read(source: TableSource, seed: int) -> Dataset:
    """Read a table and say what it holds before it is fitted."""
    from trainer.table.dataset import read_dataset
    from trainer.table.report import describe_check

    dataset = read_dataset(source, seed)
    if dataset.check:
        process.log(describe_check(dataset.check, source.label))
    return dataset


def _values(outcome: Outcome, out: Path) -> dict[str, object]:
    record = outcome.run.record
    metrics, check = record.metrics, record.check
    return {
        "accuracy": metrics["accuracy"],
        "loss": metrics["loss"],
        "test_loss": metrics["test_loss"],
        "rows": int(metrics["train_rows"]),
        "test_rows": int(metrics["test_rows"]),
        "epochs": int(metrics["epochs"]),
        "seconds": round(outcome.seconds, 6),
        "device": outcome.device.name,
        "run": str(out),
        "evaluation": to_builtins(outcome.evaluation),
        **({} if check is UNSET else {"check": to_builtins(check)}),
    }


def _describe(outcome: Outcome, out: Path) -> str:
    metrics, device = outcome.run.record.metrics, outcome.device
    option = "" if out == DEFAULT_RUN else f" --run {shlex.quote(str(out))}"
    best = f", the best was {metrics['best_epoch']:.0f}" if "best_epoch" in metrics else ""
    return (
        f"{metrics['train_rows']:,.0f} rows, {metrics['epochs']:.0f} epochs{best}: "
        f"loss {metrics['loss']:.4f}, "
        f"accuracy {metrics['accuracy']:.1%} of {metrics['test_rows']:,.0f} test rows, "
        f"{outcome.seconds:.2f} s on {device.name} ({device.reason})\n"
        f"run: {out}; next: exporter export{option}"
    )


def main() -> NoReturn:
    """Run the command line."""
    process.run(in_team(app), "trainer")

"""The command ``trainer``: parse options, call the library, print the result.

Torch is imported inside commands, so that help and ``sample`` start at once.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runtime.errors import EXIT_INTERRUPTED, UsageError
from runtime.io.paths import STANDARD_STREAM, Location
from runtime.io.sinks import open_sinks
from runtime.schema.features import Unseen  # noqa: TC001 - typer reads it
from runtime.tables.options import parse_read_options
from runtime.terminal import process
from runtime.terminal.options import (
    DEFAULT_RUN,
    DecimalOption,
    DelimiterOption,
    EncodingOption,
    ForceOption,
    JsonOption,
    local_path_option,
    location_option,
    log_skipped,
    new_app,
    refuse_extra_arguments,
    split_names,
)
from trainer.config import (
    CHECKPOINT_EVERY_S,
    ClassWeights,
    DeviceChoice,
    Optimiser,
    Options,
    Preset,
    parse_widths,
    read_options_file,
)
from trainer.data.cell_options import parse_date_formats, parse_missing
from trainer.data.source import (
    MAX_CATEGORIES,
    MOST_CATEGORIES,
    BadRowsPolicy,
    TableSource,
    choose_rejects_path,
    parse_table_options,
)
from trainer.distributed.launch import distributed, is_main_process
from trainer.recipe import configure_before_reading
from trainer.schedule import GRAMMAR
from trainer.seeds import DEFAULT_SEED
from trainer.tuning.budget import parse_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

SampleOption = Annotated[
    Path,
    local_path_option("CSV file to write; - is standard output."),
]

DataOption = Annotated[
    Location | None,
    location_option(
        "Training data: CSV, TSV, JSON Lines, Parquet or Arrow; a folder or glob pattern is "
        "read as one table; also of s3://, gs:// or az:// (default: synthetic products).",
    ),
]
TestOption = Annotated[Location | None, location_option("Test set.")]

_NOT_IN_FILE = frozenset({"config", "help", "json", "tune"})


def _apply_config_file(context: typer.Context, path: Path | None) -> Path | None:
    """Use the values of a TOML file as the command's defaults."""
    if path is None:
        return None
    options = {
        option.removeprefix("--"): parameter
        for parameter in context.command.params
        for option in parameter.opts
        if option.startswith("--") and option.removeprefix("--") not in _NOT_IN_FILE
    }
    context.default_map = defaults = {}
    several = [name for name, each in options.items() if getattr(each, "multiple", False)]
    found = read_options_file(path, options, repeatable=several, of_command=_NOT_IN_FILE)
    for name, given in found.items():
        for text in [given] if isinstance(given, str) else given:
            try:
                options[name].type.convert(text, options[name], context)
            except typer.BadParameter as exc:
                raise UsageError(f"{path}: {name}: {exc.message}") from exc
        defaults[options[name].name or name] = given
    return path


app = new_app(
    "trainer", "Train a classifier and write a run that the exporter turns into a bundle."
)


@app.command()
def sample(
    rows: Annotated[int, typer.Option(help="Number of products.")],
    out: SampleOption,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = DEFAULT_SEED,
    force: ForceOption = False,
) -> None:
    """Write synthetic products as CSV: price, rating, popular."""
    if not is_main_process():
        return
    from runtime.scoring.options import Options as ScoringOptions
    from runtime.scoring.outputs import check_table_output
    from runtime.tables.formats import Format
    from trainer.data.products import check_sample_name, write_sample

    check_sample_name(out)
    check_table_output(out, Format("csv"), ScoringOptions(force=force))
    kept = "the output is incomplete" if out == STANDARD_STREAM else "nothing was written"
    with (
        process.on_interrupt(lambda: kept),
        process.exit_on_broken_pipe(),
        open_sinks() as open_sink,
    ):
        sink = open_sink(out)
        write_sample(sink, rows, seed=seed)
        sink.flush()
    where = "standard output" if out == STANDARD_STREAM else str(out)
    process.log(f"{rows:,} products written to {where}")


@app.command(context_settings={"allow_extra_args": True})
def fit(
    context: typer.Context,
    data: DataOption = None,
    label: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Feature columns, separated by commas (default: all others)."),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            help="Columns to exclude, separated by commas; '#1' is the first, by its position."
        ),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(
            help="Categorical columns that look like numbers, separated by commas; the label among "
            "them: NA and the like are classes."
        ),
    ] = None,
    fold_categories: Annotated[
        bool,
        typer.Option(
            "--fold-categories",
            help="Join categories that differ only in case, blanks or Unicode form, also when the "
            "bundle scores.",
        ),
    ] = False,
    missing: Annotated[
        str | None,
        typer.Option(
            help="Texts that mean a missing cell, separated by commas, e.g. NA,NULL; also when the "
            "bundle scores (default: only empty cells)."
        ),
    ] = None,
    date_format: Annotated[
        list[str] | None,
        typer.Option(
            help="Format of dates that are not in ISO 8601: dmy, mdy, ymd, or strftime codes; for "
            "one column COLUMN=FORMAT, where also epoch-s and epoch-ms (repeatable)."
        ),
    ] = None,
    unseen: Annotated[
        Unseen | None,
        typer.Option(
            help="Categories not seen in training: error makes them bad cells (default), other "
            "maps them to none of the known ones; of booleans always bad cells."
        ),
    ] = None,
    rare: Annotated[
        Unseen,
        typer.Option(
            help="A column with too many categories: error refuses it, other keeps the most "
            "frequent and joins the rest; unseen categories are then scored as these."
        ),
    ] = "error",
    max_categories: Annotated[
        int | None,
        typer.Option(
            help=f"Most categories of a column, at most {MOST_CATEGORIES:,}, joined ones counting "
            f"as one (default: {MAX_CATEGORIES})."
        ),
    ] = None,
    bad_rows: Annotated[
        BadRowsPolicy,
        typer.Option(
            help="Rows with a cell or label that cannot be used: fail refuses the table, reject "
            "leaves them out, at most half of the labelled ones."
        ),
    ] = "fail",
    rejects: Annotated[
        Location | None,
        location_option("File for the rejected rows (default: OUT.rejects.csv)."),
    ] = None,
    force: ForceOption = False,
    test: TestOption = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share of each class for the test set (default: 0.2).")
    ] = None,
    table_format: Annotated[
        str | None,
        typer.Option("--format", help="Table format (default: by file name)."),
    ] = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    decimal: DecimalOption = ".",
    out: Annotated[
        Path,
        local_path_option("Run directory; an existing run is replaced."),
    ] = DEFAULT_RUN,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="default fits an ensemble to a table; accurate fits a larger one, which takes two "
            "to five times as long; tutorial trains one network on raw features with a low "
            "learning rate, as the tutorial does (default: default)."
        ),
    ] = None,
    device: Annotated[
        DeviceChoice,
        typer.Option(help="Training device; auto uses CUDA where it is available and faster."),
    ] = "auto",
    seed: Annotated[
        int | None, typer.Option(help=f"Same seed, same weights (default: {DEFAULT_SEED}).")
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(help="Hidden layer widths of a member: 64,64 (default: by preset)."),
    ] = None,
    bins: Annotated[
        int | None,
        typer.Option(
            help="Piecewise linear encoding: most bins of each number, inputs beside it "
            "(default: by preset, 0 is none)."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training rows (default: by preset, more for small tables)."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows per step (default: by preset).")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Initial learning rate (default: by preset).")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help=f"Learning rate schedule: {GRAMMAR} (default: by preset).")
    ] = None,
    optimiser: Annotated[
        Optimiser | None, typer.Option(help="Optimiser (default: by preset).")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay coefficient (default: by preset).")
    ] = None,
    class_weights: Annotated[
        ClassWeights | None,
        typer.Option(help="balanced weights all classes equally in the loss (default: none)."),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            help="Networks that are trained side by side and deployed as one, their mean "
            "(default: by preset)."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Parts of the training rows; each member leaves one out, and the loss on the rows "
            "left out selects the best epoch (default: by preset, 0 is none)."
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Share of the training rows held out to select the best epoch."),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Divide the logits by the temperature with the lowest validation loss "
            "(default: by preset).",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Early stopping: epochs without a better validation loss."),
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(
            help="Search the options that are not given, on the training rows, and fit with the "
            "best: so many trials (20), or so long (60s, 5m)."
        ),
    ] = None,
    logdir: Annotated[
        Path | None,
        local_path_option("Directory for TensorBoard event files (default: inside the run)."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard an interrupted run and start over.")
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between checkpoints.", min=0)
    ] = CHECKPOINT_EVERY_S,
    config: Annotated[  # noqa: ARG001 - applied by its callback
        Path | None,
        typer.Option(
            help="TOML file with defaults for these options.",
            readable=False,
            is_eager=True,
            callback=_apply_config_file,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train SimpleNet on your table, or on synthetic products.

    The synthetic data: 800 training and 200 test rows; popular is price + rating > 10.
    """
    refuse_extra_arguments("data", data, context.args)
    overrides = Options(
        hidden=parse_widths(hidden),
        bins=bins,
        learning_rate=learning_rate,
        schedule=schedule,
        optimiser=optimiser,
        weight_decay=weight_decay,
        class_weights=class_weights,
        epochs=epochs,
        batch_size=batch_size,
        members=members,
        folds=folds,
        validation=validation,
        calibrate=calibrate,
        patience=patience,
        seed=seed,
    )
    columns = {"features": features, "exclude": exclude, "categories": categories}
    columns |= {"fold_categories": "yes" if fold_categories else None}
    columns |= {"missing": missing, "date_format": ",".join(date_format or ()) or None}
    table_options = columns | {
        "unseen": unseen,
        "rare": None if rare == "error" else rare,
        "max_categories": max_categories,
        "bad_rows": None if bad_rows == "fail" else bad_rows,
        "rejects": rejects,
        "test": test,
        "test_fraction": test_fraction,
    }
    table = parse_table_options(data, label, table_options)
    source = table and TableSource(
        *table,
        features=split_names(features),
        exclude=split_names(exclude) or (),
        categories=split_names(categories) or (),
        date_formats=parse_date_formats(date_format or ()),
        missing=parse_missing(split_names(missing)),
        fold_categories=fold_categories,
        unseen=unseen,
        rare=rare,
        max_categories=MAX_CATEGORIES if max_categories is None else max_categories,
        test=test,
        test_fraction=test_fraction,
        reading=parse_read_options(table_format, delimiter, encoding, decimal, loose=False),
        bad_rows=bad_rows,
        rejects=choose_rejects_path(out, bad_rows, rejects),
        force=force,
    )
    if data and is_main_process():
        log_skipped(data)
    budget = None if tune is None else parse_budget(tune)
    if not resume:
        # Wrong options are refused before torch is loaded.
        configure_before_reading(preset, overrides, has_table=data is not None)
    with _show_loading():
        from trainer.cli.fit import print_outcome, run_fit, start_run
        from trainer.session import SaveOptions
        from trainer.tuning.search import TuningRequest

    saving = SaveOptions(logdir, resume, checkpoint_every, restart)
    request = TuningRequest(budget, preset, overrides, device) if budget else None
    configuration = start_run(out, source, preset, overrides, saving=saving, tuning=request)
    outcome, search = run_fit(
        out, source, configuration, overrides, device=device, saving=saving, tuning=request
    )
    if outcome:
        print_outcome(outcome, out, source, search, as_json=as_json)


@contextmanager
def _show_loading() -> Iterator[None]:
    """Show that torch is loaded, which takes seconds."""
    from runtime.terminal.progress import phase_progress

    try:
        with phase_progress("loading PyTorch"):
            yield
    except KeyboardInterrupt:
        process.log("interrupted while loading PyTorch: nothing was changed")
        sys.exit(EXIT_INTERRUPTED)


def main() -> NoReturn:
    """Run the command ``trainer``."""
    process.run(distributed(app), "trainer")

"""``trainer fit``: read the table, train, and print the result."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from msgspec import UNSET, to_builtins

from runtime.errors import UsageError
from runtime.io.sinks import open_sinks
from runtime.terminal import process
from runtime.terminal.options import DEFAULT_RUN
from trainer.checkpoint.manager import exit_when_interrupted
from trainer.checkpoint.resume import (
    check_start,
    check_table_options,
    describe_start,
    resume_options,
)
from trainer.checkpoint.trials import remove_search
from trainer.cli.tuning import print_search, search_to_json, search_with_progress
from trainer.data.products import predict_example
from trainer.data.progress import TerminalProgress
from trainer.data.reading import read_dataset
from trainer.data.report import format_rejected, format_report
from trainer.distributed.launch import is_main_process, on_main_process
from trainer.evaluation.report import format_evaluation
from trainer.loggers.progress import describe_overfitting, show_progress
from trainer.pipeline import join_run, make_run
from trainer.recipe import configure_before_reading
from trainer.run_plan import check_outputs
from trainer.tuning.tuned import check_tuning, plan_untuned

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.checkpoint.trials import Search
    from trainer.config import Configuration, DeviceChoice, Options, Preset
    from trainer.data.bad_rows import OpenSink
    from trainer.data.dataset import Dataset
    from trainer.data.source import TableSource
    from trainer.pipeline import Outcome
    from trainer.session import SaveOptions
    from trainer.tuning.search import TuningRequest


def start_run(
    out: Path,
    source: TableSource | None,
    preset: Preset | None,
    overrides: Options,
    *,
    saving: SaveOptions,
    tuning: TuningRequest | None = None,
) -> Configuration:
    """Choose the options of a new or resumed run, and say what happens to the one that is there."""
    resume, restart = saving.resume, saving.restart

    def choose_resumed() -> Configuration | None:
        check_tuning(out, tuning, resume=resume, restart=restart)
        check_start(out, resume=resume, restart=restart)
        check_outputs(out, saving.logdir)
        if not resume:
            return None
        check_table_options(out, source.to_record() if source else {})
        return resume_options(out, preset, overrides)

    # Each process has its own options, which are compared before the first step.
    resumed = on_main_process(choose_resumed)
    configuration = resumed or configure_before_reading(
        preset, overrides, has_table=source is not None
    )
    if is_main_process() and (
        notice := describe_start(out, configuration, resume=resume, restart=restart)
    ):
        process.log(notice)
    return configuration


def run_fit(  # noqa: PLR0913 - parsed options
    out: Path,
    source: TableSource | None,
    configuration: Configuration,
    overrides: Options,
    *,
    device: DeviceChoice,
    saving: SaveOptions,
    tuning: TuningRequest | None = None,
) -> tuple[Outcome | None, Search | None]:
    """Train on a table, or on synthetic products; None in all processes but the main one.

    With ``tuning``, search the options first; the search is returned, too.
    """
    if source and source.rejects and source.rejects.parent == out.parent and is_main_process():
        _create_parent(out)
    with open_sinks() as open_sink:  # rejected rows, which appear with the run
        with exit_when_interrupted(out, "reading the table", resumes=saving.resume):
            dataset = _read(source, configuration.seed, open_sink) if source else None
        if tuning:
            plan = search_with_progress(out, tuning, dataset, configuration, saving)
        else:
            plan = plan_untuned(out, dataset, configuration, overrides, saving)
        if not is_main_process():
            with exit_when_interrupted(out, "training", resumes=True):
                join_run(out, plan.configuration, dataset, device=device, saving=plan.saving)
            return None, None
        training = exit_when_interrupted(out, "training", resumes=True)
        with training, show_progress(plan.configuration.epochs) as report:
            outcome = make_run(
                out,
                plan.configuration,
                dataset,
                device=device,
                saving=plan.saving,
                on_epoch_end=report,
            )
    if plan.search:
        remove_search(out)
    return outcome, plan.search


def _create_parent(out: Path) -> None:
    """Create the folder of a run, where the rejects file is by default."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"cannot write {out}: {exc.strerror}") from exc


def print_outcome(
    outcome: Outcome,
    out: Path,
    source: TableSource | None,
    search: Search | None = None,
    *,
    as_json: bool,
) -> None:
    """Print the trials of a search, the evaluation and a summary, or all of them as JSON."""
    if as_json:
        tuning = {"tuning": search_to_json(search)} if search else {}
        process.echo(process.compact_json(_to_json(outcome, out, source) | tuning))
        return
    if search:
        print_search(search, int(outcome.run.record.metrics["train_rows"]))
    if source is None:
        process.echo(predict_example(outcome.run.model))
    process.log(format_evaluation(outcome.evaluation, sys.stderr))
    process.log(_format_summary(outcome, out))
    if outcome.last and outcome.last.is_overfitting:
        process.log(describe_overfitting(outcome.last))


def _read(source: TableSource, seed: int, open_sink: OpenSink) -> Dataset:
    """Read a table and print its data check before training."""
    is_main = is_main_process()
    progress = TerminalProgress() if is_main else None
    dataset = read_dataset(source, seed, open_sink if is_main else None, progress)
    if dataset.check:
        process.log(format_report(dataset.check, source))
        if rejected := format_rejected(dataset.check.rejected or (), source):
            process.log(rejected)
    return dataset


def _to_json(outcome: Outcome, out: Path, source: TableSource | None) -> dict[str, object]:
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
        **({"lowest_test_loss_epoch": outcome.last.lowest + 1} if outcome.last else {}),
        "run": str(out),
        **({"rejects": str(source.rejects)} if source and source.rejects else {}),
        "evaluation": to_builtins(outcome.evaluation),
        **({} if check is UNSET else {"check": to_builtins(check)}),
    }


def _format_summary(outcome: Outcome, out: Path) -> str:
    metrics, device = outcome.run.record.metrics, outcome.device
    option = "" if out == DEFAULT_RUN else f" --run {shlex.quote(str(out))}"
    complete = "" if outcome.last else ", complete before: nothing was trained"
    best = f" (best: {metrics['best_epoch']:.0f})" if "best_epoch" in metrics else ""
    return (
        f"{metrics['train_rows']:,.0f} rows, {metrics['epochs']:.0f} epochs{best}: "
        f"train loss {metrics['loss']:.4f}, test loss {metrics['test_loss']:.4f}, "
        f"test accuracy {metrics['accuracy']:.1%} ({metrics['test_rows']:,.0f} rows), "
        f"{outcome.seconds:.2f} s on {device.name} ({device.reason})\n"
        f"run: {out}{complete}; next: exporter export{option}"
    )

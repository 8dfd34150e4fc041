"""The evaluation as tables on a terminal: metrics and the confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from runtime.terminal.tables import (
    confusion_table,
    new_table,
    percent,
    render_tables,
)
from runtime.wrapping import terminal_width

if TYPE_CHECKING:
    from rich.table import Table

    from trainer.evaluation.metrics import Evaluation


def format_evaluation(evaluation: Evaluation, stream: TextIO) -> str:
    """Format the metrics and the confusion matrix for a stream."""
    matrix = confusion_table(evaluation, terminal_width(stream))
    return render_tables(_metrics_table(evaluation), "", matrix, stream=stream)


def _metrics_table(evaluation: Evaluation) -> Table:
    accuracy = evaluation.accuracy
    auc = "-" if evaluation.roc_auc is None else f"{evaluation.roc_auc:.4f}"
    interval = f"95 % interval {percent(accuracy.low)} to {percent(accuracy.high)}"
    table = new_table(header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for line in (
        ("accuracy", percent(accuracy.share), f"on {evaluation.rows:,} test rows; {interval}"),
        ("baseline", percent(evaluation.baseline), "always the most frequent class"),
        ("macro F1", f"{evaluation.macro_f1:.4f}", "mean over the classes"),
        ("ROC AUC", auc, "guessing: 0.5"),
        ("Brier score", f"{evaluation.brier:.4f}", _describe_brier(evaluation)),
        ("log loss", f"{evaluation.log_loss:.4f}", "nats"),
        ("calibration", f"{evaluation.calibration_error:.4f}", "expected error"),
    ):
        table.add_row(*line)
    return table


def _describe_brier(evaluation: Evaluation) -> str:
    """Say which of its definitions is used, and what a model that reads nothing would have."""
    kind = "mean squared error" if len(evaluation.classes) == 2 else "sum over classes"  # noqa: PLR2004 - two classes
    return f"{kind}; guessing by class shares: {evaluation.brier_baseline:.4f}"

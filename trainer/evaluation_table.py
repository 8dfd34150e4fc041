"""What a person sees of a fitted model: figures on the test rows, and the confusion matrix.

In: an ``Evaluation``. Out: text. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from runtime.terminal.tables import confusion_table, new_table, percent, render, terminal_width

if TYPE_CHECKING:
    from rich.table import Table

    from trainer.metrics import Evaluation


def describe_evaluation(evaluation: Evaluation, stream: TextIO) -> str:
    """Draw the figures.

    Args:
        evaluation: of the model.
        stream: where the text will be shown.

    Returns:
        Lines without a line break at the end.
    """
    matrix = confusion_table(evaluation, terminal_width(stream))
    return render(_draw(evaluation), "", matrix, stream=stream)


def _draw(evaluation: Evaluation) -> Table:
    found = evaluation.accuracy
    auc = "-" if evaluation.roc_auc is None else f"{evaluation.roc_auc:.4f}"
    interval = f"95 % interval {percent(found.low)} to {percent(found.high)}"
    table = new_table(header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for line in (
        ("accuracy", percent(found.share), f"of {evaluation.rows:,} test rows; {interval}"),
        ("baseline", percent(evaluation.baseline), "always the most frequent class"),
        ("macro F1", f"{evaluation.macro_f1:.4f}", "mean over the classes"),
        ("ROC AUC", auc, ""),
        ("log loss", f"{evaluation.log_loss:.4f}", "nats"),
        ("calibration", f"{evaluation.calibration_error:.4f}", "expected error"),
    ):
        table.add_row(*line)
    return table

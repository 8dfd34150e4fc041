"""Prove a model: every contender, judged, and a failure explained.

In: contenders, what they must compute, and rows. Out: the report. Models of which nothing can be
proven are a ``ParityError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.failure.explain import explain
from exporter.proof.contenders import choose
from exporter.proof.parity import prove
from trainer.device import reproducible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.proof.contenders import Contender
    from exporter.proof.matrix import Watch
    from exporter.proof.parity import Report
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from exporter.truth.truth import Truth


def prove_model(
    contenders: Sequence[Contender],
    truth: Truth,
    rows: ProofRows,
    *,
    plan: Plan,
    watch: Watch | None = None,
) -> Report:
    """Run the contenders that a plan asks for, and say where a failure comes from.

    Args:
        contenders: every way of running the model here.
        truth: what they must compute.
        rows: to run.
        plan: which contenders run, and at which batch sizes how many of the rows.
        watch: told after every step.

    Returns:
        The report.

    Raises:
        ParityError: when nothing can be proven of the model.
        UsageError: when the plan asks for a contender or row that is not there.
    """
    chosen = choose(contenders, plan.contender)
    with reproducible("cpu"):  # a second thread helps no batch here and can cost a hundredfold
        report = prove(chosen, rows, truth, plan=plan, watch=watch)
        return explain(report, chosen, truth, rows, plan)

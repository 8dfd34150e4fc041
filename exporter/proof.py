"""Prove a model on this machine, and diagnose a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.diagnosis.divergence import find_divergence
from exporter.diagnosis.tracing import trace_divergence
from exporter.parity.backends import select_backends
from exporter.parity.matrix import find_batch
from exporter.parity.report import prove
from trainer.device import reproducible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.parity.backends import Backend
    from exporter.parity.report import Report
    from exporter.parity.rows import ParityRows, Plan
    from exporter.progress import OnProgress
    from exporter.reference.oracle import Reference


def prove_model(
    backends: Sequence[Backend],
    reference: Reference,
    rows: ParityRows,
    *,
    plan: Plan,
    on_progress: OnProgress | None = None,
) -> Report:
    """Run the backends of a plan, and name the diverging node of the first failure.

    Raises ``ParityError`` when nothing can be proven, ``UsageError`` for a backend or row that does
    not exist.
    """
    selected = select_backends(backends, plan.backend)
    with reproducible("cpu"):  # a second thread helps no batch here and can cost a hundredfold
        report = prove(selected, rows, reference, plan=plan, on_progress=on_progress)
        return diagnose(report, selected, reference, rows, plan)


def diagnose(
    report: Report,
    backends: Sequence[Backend],
    reference: Reference,
    rows: ParityRows,
    plan: Plan,
) -> Report:
    """Add the first diverging node to a report's failure, where the backend has a graph."""
    failure = report.failure
    if failure is None:
        return report
    failed = next(each for each in backends if each.name == failure.backend)
    if failed.graph is None:
        return report
    index = find_batch(rows, plan, failure.batch, failure.row)
    features = rows.features[index]
    if reference.layers:
        node = find_divergence(
            failed.graph(),
            reference.layers,
            features,
            index,
            preprocessing=reference.preprocessing,
            keeps_specials=failed.keeps_specials,
        )
    elif reference.captured:
        node = trace_divergence(failed.graph, reference.captured, features, index)
    else:
        return report
    return msgspec.structs.replace(report, failure=msgspec.structs.replace(failure, node=node))

"""Say more of a failed proof: where in the graph the first failure comes from.

In: a report and what it was made with. Out: the same report, its failure explained. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.failure.alignment import Failed, find_measured_divergence
from exporter.failure.divergence import find_divergence
from exporter.proof.matrix import find_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.proof.contenders import Contender
    from exporter.proof.parity import Report
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from exporter.truth.truth import Truth


def explain(
    report: Report,
    contenders: Sequence[Contender],
    truth: Truth,
    rows: ProofRows,
    plan: Plan,
) -> Report:
    """Find the first diverging node of the first failure.

    Args:
        report: of the matrix.
        contenders: that it was made with.
        truth: what they must compute.
        rows: that were run.
        plan: which batch sizes ran how many of them.

    Returns:
        The report, with the node where the contender has a graph.
    """
    failure = report.failure
    if failure is None:
        return report
    failed = next(each for each in contenders if each.name == failure.contender)
    if failed.graph is None:
        return report
    index = find_batch(rows, plan, failure.batch, failure.row)
    features = rows.features[index]
    if truth.layers:
        node = find_divergence(
            failed.graph(),
            truth.layers,
            features,
            index,
            gaps=truth.gaps,
            keeps_specials=failed.keeps_specials,
        )
    elif truth.captured:
        batch = Failed(features, index, failure.row, failed.keeps_specials)
        node = find_measured_divergence(failed.graph, truth.captured, batch)
    else:
        return report
    return msgspec.structs.replace(report, failure=msgspec.structs.replace(failure, node=node))

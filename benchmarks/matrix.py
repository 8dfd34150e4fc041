"""The matrix of a proof and its time: the products model, and a model trained elsewhere.

    python benchmarks/matrix.py [--runs 3] [--write]

As in an export: every backend at every batch size, all rows. The time is that of the proof alone,
in one process, after imports and conversion. Backends with the same figures in every cell, such as
the settings of onnxruntime, share a line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from faults.custom_model import make_custom_model

from exporter.bundling import check_candidate, convert_candidate
from exporter.parity.rows import FULL
from exporter.source.candidate import candidate_from_run
from trainer.config import configure
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from exporter.formats.model_files import ModelFiles
    from exporter.parity.cells import Cell
    from exporter.parity.report import Report
    from exporter.source.candidate import Candidate

TARGET_S = 15.0
NOTE = (
    "Error ÷ bound is the worst of logits and probabilities; ULP the worst of a logit in float32 "
    "steps; a label disagrees where it is not that of the float64 evaluation, which is allowed on "
    "undecidable rows alone. Rows on class boundaries are undecidable by design."
)


def main() -> int:
    """Prove both models, print their matrices, and exit with 1 when one did not pass."""
    parser = argparse.ArgumentParser(description="The matrix of a proof, and its time.")
    parser.add_argument("--runs", type=int, default=3, help="of each proof; the median counts")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    parts = []
    for title, candidate, files in models():
        report, seconds = prove_often(candidate, files, args.runs)
        parts.append(describe(title, report, seconds))
        if not report:
            return 1
    measure.report(
        "matrix",
        "The matrix of a proof",
        "\n\n".join(parts),
        ("onnxferry", "torch", "onnx", "onnxruntime-gpu", "numpy"),
        note=f"{NOTE} Load of the machine at the end: {os.getloadavg()[0]:.1f}.",
        write=args.write,
    )
    return 0


def models() -> list[tuple[str, Candidate, ModelFiles]]:
    """Return the default products model, freshly trained, and the custom model of the faults."""
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder) / "run", configure(), device="cpu")
        products = candidate_from_run(load_run(Path(folder) / "run"))
    custom = make_custom_model()
    return [
        ("Products, bounds derived", products, convert_candidate(products)),
        ("A custom model, tolerance measured", custom.candidate, custom.files),
    ]


def prove_often(candidate: Candidate, files: ModelFiles, runs: int) -> tuple[Report, list[float]]:
    """Run the whole proof several times; the report is the same every time."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        report = check_candidate(candidate, FULL, convert=lambda _: files)
        seconds.append(time.perf_counter() - started)
    return report, seconds


def describe(title: str, report: Report, seconds: list[float]) -> str:
    """Format the totals, error over bound as a matrix, and every figure of every cell."""
    batches = [batch for batch in report.batches if batch]
    times = ", ".join(f"{each:.1f}" for each in seconds)
    summary = (
        f"Passed: {report.passed}. {len(report.cells)} cells, up to {report.rows:,} rows each; "
        f"{report.undecidable} rows undecidable, and {report.undecidable_on_boundaries:,} on class "
        f"boundaries; {statistics.median(seconds):.1f} s (median of {times}; target: under "
        f"{TARGET_S:.0f} s on 2 cores)."
    )
    lines = [
        f"## {title}",
        "",
        summary,
        "",
        f"| worst error ÷ bound at batch | {' | '.join(f'{batch:,}' for batch in batches)} |",
        "|---|" + "---|" * len(batches),
    ]
    groups = group(report)
    for names, cells in groups.items():
        figures = " | ".join(f"{cell.worst_error_over_bound:.3g}" for cell in cells)
        lines.append(f"| {names} | {figures} |")
    lines += [
        "",
        "| backend | batch | rows | worst error | ULP | labels that disagree | undecidable |",
        "|---|---|---|---|---|---|---|",
        *(line(names, cell) for names, cells in groups.items() for cell in cells),
    ]
    return "\n".join(lines)


def group(report: Report) -> dict[str, list[Cell]]:
    """Group backends with the same figures in all cells; the empty batch is left out."""
    alike: dict[str, list[str]] = {}
    found: dict[str, list[Cell]] = {}
    for backend in report.backends:
        cells = [report.cell(backend, batch) for batch in report.batches if batch]
        key = "".join(line("", cell) + str(cell.worst_error_over_bound) for cell in cells)
        alike.setdefault(key, []).append(backend)
        found.setdefault(key, cells)
    return {name(alike[key]): cells for key, cells in found.items()}


def name(backends: list[str]) -> str:
    """The only one, or what they have in common."""
    if len(backends) == 1:
        return backends[0]
    kinds = {"-".join(backend.split("-")[:2]) for backend in backends}
    if len(kinds) == 1:
        return f"{kinds.pop()} ({len(backends)} settings)"
    return ", ".join(backends)


def line(names: str, cell: Cell) -> str:
    """Format one cell as a line of the table."""
    return (
        f"| {names} | {cell.batch:,} | {cell.rows:,} | {cell.worst_error:.3g} | "
        f"{cell.worst_ulps:,} | {cell.label_disagreements:,} | {cell.undecidable:,} |"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Check whether a faulty export is published or opened."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from exporter.bundling import export_candidate
from exporter.parity.rows import Plan
from exporter.verify import verify_bundle
from runtime.errors import ArtifactError, OnnxferryError, ParityError
from runtime.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from faults.fault import Fault, Good

# Every backend and batch size, on few rows: what a fault changes, it changes nearly everywhere.
QUICK = Plan(uniform=4096, boundary=512, small=16, medium=256)
FEWER = Plan(uniform=512, boundary=64, small=4, medium=64)  # of the custom model, which is slower


def stop(fault: Fault, good: Good, scratch: Path) -> OnnxferryError | None:
    """Export or open with a fault.

    Args:
        fault: to inject.
        good: export.
        scratch: an empty folder.

    Returns:
        The error that stopped it; None when it was not detected.
    """
    out = scratch / "bundle"
    try:
        if fault.files:
            wrong = fault.files(good)
            plan = FEWER if fault.place == "custom model" else QUICK
            export_candidate(fault.candidate(good), out, convert=lambda _: wrong, plan=plan)
        elif fault.bundle:
            shutil.copytree(good.bundle, out)
            fault.bundle(out, good)
            Predictor(out, provider="cpu")
            report = verify_bundle(out, plan=QUICK)
            if not report and report.failure:
                return ParityError(f"{report.failure.backend}: {report.failure.reason}")
    except (ParityError, ArtifactError) as exc:
        return exc
    return None

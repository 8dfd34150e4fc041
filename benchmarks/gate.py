"""Fault injection: which faults of an export are detected, here and by other checks, in one run.

    python benchmarks/gate.py [--write]

The other checks see one file, model.onnx, on one batch of test rows, as they are commonly used:

- torch: what ``torch.onnx.export(verify=True)`` reports, an absolute difference above 5e-3 or a
  relative one above 1e-1 in some output; it is a line in a report, not an error;
- allclose: ``numpy.allclose`` of probabilities and labels with its defaults, rtol 1e-5 and
  atol 1e-8, and once more with atol 1e-5;
- Polygraphy: ``SimpleCompareFunc`` with its defaults on all outputs, as ``polygraphy run`` does.

A model that cannot be loaded or run is detected by all. The last line shows their results for the
correct exports.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import numpy as np
import onnxruntime as ort
import torch
from faults import CATALOGUE
from faults.custom_model import make_custom_model
from faults.fault import Fault, Good, Place, good_export
from faults.gate import QUICK, stop
from polygraphy.comparator import IterationResult, SimpleCompareFunc
from polygraphy.logger import G_LOGGER
from torch.onnx._internal.exporter._verification import VerificationInfo

from exporter.bundling import export
from exporter.formats.deployed import Deployed
from trainer.config import configure
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.source.candidate import Candidate

Values = dict[str, np.ndarray]
NAMES = ("label", "probabilities", "logits")
BATCH = 32
LOOKED_AT: tuple[Place, ...] = ("all files", "ONNX", "custom model")
RIGHT = (
    Fault("none", "ONNX", files=lambda good: good.files),
    Fault("none", "custom model", files=lambda good: good.custom.files),
)
ABSOLUTE, RELATIVE = 5e-3, 1e-1  # torch.onnx.export(verify=True)
NOTE = (
    "Every fault is injected with the same seed in every run. A fault counts as detected by a "
    "peer when its comparison fails or the model cannot be run."
)


def main() -> int:
    """Inject every fault, print the table, and exit with 1 when the proof missed one."""
    parser = argparse.ArgumentParser(description="Detection of injected faults.")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    with tempfile.TemporaryDirectory() as folder:
        good = make_good(Path(folder))
        found = {fault: evaluate(fault, good, Path(folder) / "scratch") for fault in CATALOGUE}
        right = [evaluate(fault, good, Path(folder) / "x") for fault in RIGHT]
    measure.report(
        "gate",
        "Detection of injected faults",
        describe(found, right),
        ("onnxferry", "torch", "onnx", "onnxruntime-gpu", "numpy", "polygraphy"),
        note=NOTE,
        write=args.write,
    )
    return 0 if all(noticed["onnxferry"] for noticed in found.values()) else 1


def make_good(folder: Path) -> Good:
    """Train and export two runs; the second one is mixed up with the first."""
    for seed in (11, 12):
        make_run(folder / f"run{seed}", configure(epochs=2, seed=seed), device="cpu")
        export(folder / f"run{seed}", folder / f"bundle{seed}", plan=QUICK)
    run, other = (load_run(folder / f"run{seed}") for seed in (11, 12))
    return good_export(run, other, folder / "bundle11", folder / "bundle12", make_custom_model())


def evaluate(fault: Fault, good: Good, scratch: Path) -> dict[str, bool | None]:
    """Evaluate a fault with every check: detected, missed, or None where it does not apply."""
    with tempfile.TemporaryDirectory(dir=scratch.parent) as folder:
        noticed: dict[str, bool | None] = {"onnxferry": stop(fault, good, Path(folder)) is not None}
    content = fault.files(good).onnx if fault.files else None
    looked_at = content is not None and fault.place in LOOKED_AT
    for name, differs in PEERS.items():
        noticed[name] = (
            notices(differs, content, fault.candidate(good)) if content and looked_at else None
        )
        if looked_at and not content:
            noticed[name] = True  # an empty file
    return noticed


def notices(
    differs: Callable[[Values, Values], bool], content: bytes, candidate: Candidate
) -> bool:
    """Run a batch of test rows through eager and the ONNX file, and compare."""
    test = candidate.test
    if test is None:
        raise RuntimeError("both models have test rows")
    features = test.features[:BATCH]
    with torch.inference_mode():
        answers = Deployed(candidate.model).eval()(torch.from_numpy(features))
    expected = dict(zip(NAMES, (answer.numpy() for answer in answers), strict=True))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        input_name = session.get_inputs()[0].name
        got = dict(zip(NAMES, session.run(None, {input_name: features})[:3], strict=True))
        return differs(expected, got)
    except Exception:  # noqa: BLE001 - it cannot be loaded, run or compared: that is noticed
        return True


def torch_differs(expected: Values, got: Values) -> bool:
    """Whether the report of ``torch.onnx.export(verify=True)`` would flag it."""
    compared = [
        VerificationInfo.from_tensors(
            name, torch.from_numpy(expected[name]), torch.from_numpy(value)
        )
        for name, value in got.items()
    ]
    return any(each.max_abs_diff >= ABSOLUTE or each.max_rel_diff >= RELATIVE for each in compared)


def allclose_differs(atol: float) -> Callable[[Values, Values], bool]:
    """Compare probabilities and labels with ``numpy.allclose``."""

    def differs(expected: Values, got: Values) -> bool:
        return not all(
            np.allclose(got[name], expected[name], atol=atol) for name in ("label", "probabilities")
        )

    return differs


def polygraphy_differs(expected: Values, got: Values) -> bool:
    """Polygraphy's comparison of all outputs, with its defaults."""
    with np.errstate(all="ignore"):  # its statistics divide by differences of 0
        result = SimpleCompareFunc()(
            IterationResult(expected, runner_name="eager"), IterationResult(got, runner_name="onnx")
        )
    return not all(bool(each) for each in result.values())


PEERS: dict[str, Callable[[Values, Values], bool]] = {
    "torch verify=True": torch_differs,
    "np.allclose": allclose_differs(1e-8),
    "np.allclose atol 1e-5": allclose_differs(1e-5),
    "Polygraphy": polygraphy_differs,
}


def describe(
    found: dict[Fault, dict[str, bool | None]], right: list[dict[str, bool | None]]
) -> str:
    """Format the totals, then every fault."""
    checkers = ("onnxferry", *PEERS)
    places = Counter(fault.place for fault in found)
    inside: tuple[Place, ...] = ("all files", "ONNX")
    custom: tuple[Place, ...] = ("custom model",)
    outside = tuple(place for place in places if place not in inside + custom)
    seen = sum(places[place] for place in inside)
    elsewhere = sum(places[place] for place in outside)
    refused = (str(sum(bool(noticed[checker]) for noticed in right)) for checker in checkers)
    rows = {
        f"{seen} faults in model.onnx": _count(found, checkers, inside),
        f"{places['custom model']} in model.onnx of a custom model, measured": _count(
            found, checkers, custom
        ),
        f"{elsewhere} faults elsewhere": _count(found, checkers, outside),
        f"all {len(found)}": _count(found, checkers, tuple(places)),
        f"the {len(right)} correct exports, refused": " | ".join(refused),
    }
    lines = [
        f"| detected | {' | '.join(checkers)} |",
        "|---|" + "---|" * len(checkers),
        *(f"| {what} | {figures} |" for what, figures in rows.items()),
        "",
        f"| fault | in | {' | '.join(checkers)} |",
        "|---|---|" + "---|" * len(checkers),
    ]
    words = {True: "detected", False: "**missed**", None: "not checked"}
    lines += [
        f"| {fault.name} | {fault.place} | {' | '.join(words[noticed[c]] for c in checkers)} |"
        for fault, noticed in found.items()
    ]
    return "\n".join(lines)


def _count(
    found: dict[Fault, dict[str, bool | None]],
    checkers: tuple[str, ...],
    places: tuple[Place, ...],
) -> str:
    return " | ".join(
        str(sum(noticed[c] is True for fault, noticed in found.items() if fault.place in places))
        for c in checkers
    )


if __name__ == "__main__":
    sys.exit(main())

"""Dirty inputs: the result of each, here and in pandas, polars and pyarrow.

python benchmarks/dirty.py [--write]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from dirty_inputs import CATALOGUE
from dirty_inputs.answers import POLICIES, Outcome, complain, out_name, policies_of, read_answers
from peers.csv_readers import ADDED, AS_NAN, ERROR, LOST, NO_ROWS, READERS, RIGHT, WRONG, judge

from runtime.predictor import Predictor

if TYPE_CHECKING:
    from dirty_inputs.dirty_input import DirtyInput

    from runtime.choices import BadRows

BUNDLE = Path(__file__).parents[1] / "tests" / "data" / "bundle"
NOTE = (
    "Each input was scored by the command in a process of its own, under `fail`, and where it has "
    "bad rows under `reject` and `null` too; every answer, count and reason was compared with the "
    "catalogue in `benchmarks/dirty_inputs`. The readers have their defaults and are judged by the "
    "numbers in the feature columns: *error*, it raised or gave a column of text, all rows of it; "
    "*as NaN*, bad cells became NaN, null or infinite (in float32), nothing said; *no rows*, "
    "of what is no table; *wrong*, another number than is written, or one where by our rules there "
    "is none; *rows lost* or *added*, fewer or more than there are. A dash: it is no file of "
    "delimited text, or is given with options of ours"
)
Verdicts = dict[str, str]


def main() -> int:
    """Score every input and compare the other readers; exit with 1 when one of ours is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the readers warn of some inputs
    predictor = Predictor(BUNDLE, provider="cpu")
    with ThreadPoolExecutor() as pool:
        ours = list(pool.map(score, CATALOGUE))
    theirs = [ask_readers(dirty) for dirty in CATALOGUE]
    wrong = [
        (dirty.name, f"{dirty.kind}: {dirty.name}, {policy}: {complaint}")
        for dirty, outcomes in zip(CATALOGUE, ours, strict=True)
        for policy, outcome in outcomes.items()
        for complaint in complain(dirty, policy, outcome, predictor)
    ]
    measure.report(
        "dirty",
        "Dirty inputs, and what becomes of them",
        describe(ours, theirs, wrong),
        ("onnxferry", "pyarrow", "pandas", "polars"),
        note=f"{NOTE}.",
        write=args.write,
    )
    return 1 if wrong else 0


def score(dirty: DirtyInput) -> dict[BadRows, Outcome]:
    """Run the command on an input under each policy that applies."""
    return {policy: _run(dirty, policy) for policy in policies_of(dirty)}


def _run(dirty: DirtyInput, policy: BadRows) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        source, out = dirty.write(Path(folder)), Path(folder) / out_name(dirty)
        command = [sys.executable, "-m", "runtime", "predict", "--bundle", str(BUNDLE), "--json"]
        command += ["--provider", "cpu", "--no-check", "--bad-rows", policy]
        command += ["--file", str(source), "--out", str(out), *dirty.options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        message = done.stderr.removeprefix("runtime: error: ").replace(f"{folder}/", "")
        if "Traceback" in message:
            return Outcome(-1, message)
        if done.returncode:
            return Outcome(done.returncode, message, answers=read_answers(out))
        values = json.loads(done.stdout)
        prefix = "new_" if "--prefix" in dirty.options else ""
        answers = read_answers(out, prefix)
        return Outcome(0, message, values["rows"], values["reasons"], answers)


def ask_readers(dirty: DirtyInput) -> Verdicts:
    """Read an input with each of the other readers; empty where it does not apply to them."""
    if not dirty.is_delimited or dirty.options:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = dirty.write(Path(folder))
        return {
            name: judge(name, path, dirty.holds if dirty.rows is None else dirty.rows)
            for name in READERS
        }


def describe(
    ours: list[dict[BadRows, Outcome]], theirs: list[Verdicts], wrong: list[tuple[str, str]]
) -> str:
    """Format the totals, the deviations, then every input."""
    asked = [verdicts for verdicts in theirs if verdicts]
    kinds = (RIGHT, ERROR, AS_NAN, NO_ROWS, WRONG, LOST, ADDED)
    right = len(CATALOGUE) - len({name for name, _ in wrong})
    lines = [
        f"{len(CATALOGUE)} inputs; {right} went as they should here.",
        f"Of the {len(asked)} that are files of delimited text:",
        "",
        f"| reader | {' | '.join(kinds)} |",
        "|---|" + "---|" * len(kinds),
    ]
    for name in READERS:
        counts = Counter(verdicts[name] for verdicts in asked)
        lines.append(f"| {name} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    lines += ["", *(f"- **not as it should be** {each}" for _, each in wrong), ""]
    names = [*POLICIES, *READERS]
    lines += [f"| kind | input | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for dirty, outcomes, verdicts in zip(CATALOGUE, ours, theirs, strict=True):
        cells = [_say(outcomes.get(policy)) for policy in POLICIES]
        cells += [verdicts.get(name, "-") for name in READERS]
        lines.append(f"| {dirty.kind} | {_escape(dirty.name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _say(outcome: Outcome | None) -> str:
    """Summarise the result of the command; a dash where another policy gives the same."""
    if outcome is None:
        return "-"
    if outcome.code:
        lines = outcome.message.splitlines()
        shown = lines[1] if len(lines) > 1 and lines[1].startswith("  record") else lines[-1]
        shown = shown if outcome.code == 2 or "record" in shown else lines[0]
        return f"{outcome.code}: {_escape(shown.strip())}"
    bad = sum((outcome.reasons or {}).values())
    return f"{outcome.rows - bad} scored" + (f", {bad} bad" if bad else "")


def _escape(text: str) -> str:
    text = text if len(text) <= 110 else f"{text[:110]}…"
    printable = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return printable.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    sys.exit(main())

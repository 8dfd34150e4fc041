"""Read a scored table back and compare it with the expected result."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dirty_inputs.dirty_input import DirtyInput, Row
    from runtime.choices import BadRows
    from runtime.predictor import Predictor

POLICIES: Final[tuple[BadRows, ...]] = ("fail", "reject", "null")
_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_CLOSE = 1e-6  # of probabilities: other batch sizes may add up in another order
Answer = tuple[str, float]


@dataclass(frozen=True)
class Outcome:
    """Result of the command for an input.

    Attributes:
        code: its exit code.
        message: its error message.
        rows: records read, as it counted them; 0 where it failed.
        reasons: how many of them could not be scored, by reason.
        answers: label and probability of each row of the output, None for one without an
            answer; None where there is no output.
    """

    code: int
    message: str
    rows: int = 0
    reasons: Mapping[str, int] | None = None
    answers: Sequence[Answer | None] | None = None


def out_name(dirty: DirtyInput) -> str:
    """Name an output of the input's own format, or a folder for many."""
    if isinstance(dirty.content, dict) and "." not in dirty.file:
        return "out"
    ending = dirty.file.rpartition(".")[2]
    return f"out.{ending if ending in {'jsonl', 'parquet', 'arrow'} else 'csv'}"


def policies_of(dirty: DirtyInput) -> tuple[BadRows, ...]:
    """List the policies that matter: only for bad rows there is more than one."""
    return POLICIES if dirty.bad else POLICIES[:1]


def complain(
    dirty: DirtyInput, policy: BadRows, outcome: Outcome, predictor: Predictor
) -> list[str]:
    """Compare an outcome with the expected result.

    Args:
        dirty: the input.
        policy: for its bad rows.
        outcome: of the command.
        predictor: of the same bundle.

    Returns:
        The differences.
    """
    bad, rows = Counter(dirty.bad), dirty.rows
    if rows is None or (bad and policy == "fail"):
        code = dirty.code if rows is None else 3
        wrong = [] if outcome.code == code else [f"exit code {outcome.code}, not {code}"]
        wanted = [dirty.says, *(f": {reason}" for reason in list(bad)[:1])]
        wrong += [f"does not say {text!r}" for text in wanted if text not in outcome.message]
        return wrong + (["left an output"] if outcome.answers is not None else [])
    if outcome.code:
        return [f"exit code {outcome.code}: {outcome.message}"]
    wrong = [] if outcome.rows == len(rows) else [f"{outcome.rows} rows, not {len(rows)}"]
    if outcome.reasons != bad:
        wrong.append(f"reasons {dict(outcome.reasons or {})}, not {dict(bad)}")
    kept = [row for row in rows if policy == "null" or not isinstance(row, str)]
    return wrong + _compare(outcome.answers, kept, predictor)


def _compare(
    answers: Sequence[Answer | None] | None, rows: Sequence[Row], predictor: Predictor
) -> list[str]:
    if answers is None or len(answers) != len(rows):
        return [f"{'no' if answers is None else len(answers)} rows out, not {len(rows)}"]
    wrong = []
    for number, (answer, row) in enumerate(zip(answers, rows, strict=True), 1):
        right = None if isinstance(row, str) else _predict(predictor, row)
        fits = (answer is None) == (right is None)
        if fits and answer and right:
            fits = answer[0] == right[0] and abs(answer[1] - right[1]) <= _CLOSE
        if not fits:
            wrong.append(f"row {number} got {answer}, not {right}")
    return wrong


def _predict(predictor: Predictor, row: tuple[float, float]) -> Answer:
    answer = predictor.predict(np.array([row], dtype=np.float64))
    return str(answer.label[0]), float(answer.probability[0])


def read_answers(out: Path, prefix: str = "") -> list[Answer | None] | None:
    """Read label and probability of each row of an output.

    Args:
        out: a file or folder; it need not exist.
        prefix: of the new columns' names.

    Returns:
        One entry a row, None for a row without an answer; None when there is no output.
    """
    if not out.exists():
        return None
    if out.is_dir():
        files = sorted(path for path in out.rglob("*") if path.is_file())
        tables = [read_answers(path) or [] for path in files if ".rejects" not in path.name]
        return [answer for table in tables for answer in table]
    read = {".jsonl": _of_json, ".parquet": _of_columns, ".arrow": _of_columns}
    rows = read.get(out.suffix, _of_text)(out)
    found = [(row[f"{prefix}label"], row[f"{prefix}probability"]) for row in rows]
    return [(str(a), float(str(b).replace(",", "."))) if a else None for a, b in found]


def _of_text(out: Path) -> list[dict[str, object]]:
    data = out.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "latin-1")
    if encoding == "latin-1" and data[1:2] == b"\0":
        encoding = "utf-16-le"
    text = data.decode(encoding)
    text = text.partition("\n")[2] if text.startswith("sep=") else text
    sign = next((sign for sign in ",;\t|: \x1f" if f"label{sign}probability" in text), ",")
    limit = csv.field_size_limit(2**30)
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
    csv.field_size_limit(limit)
    new = header[-3 if header[-1].endswith("reason") else -2 :]
    return [dict(zip(new, row[-len(new) :], strict=True)) for row in rows if row]


def _of_json(out: Path) -> list[dict[str, object]]:
    data = out.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8-sig")
    text = data.decode(encoding, "replace").replace("\r\n", "\n")
    return [json.loads(line, parse_int=float) for line in text.split("\n") if line.strip()]


def _of_columns(out: Path) -> list[dict[str, object]]:
    if out.suffix == ".parquet":
        table = pq.read_table(out)
    else:
        with pa.ipc.open_file(out) as reader:
            table = reader.read_all()
    rows: list[dict[str, object]] = table.select(
        [name for name in table.column_names if name.endswith(("label", "probability"))]
    ).to_pylist()
    return rows

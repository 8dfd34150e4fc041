"""The matrix judges answers, not promises: contenders here are plain functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from exporter.bounds import Layer
from exporter.contenders import Contender
from exporter.oracle import ask_oracle
from exporter.parity import BATCHES, Report, prove, require
from exporter.rows import draw_rows
from exporter.verdict import judge
from runtime.errors import ParityError
from runtime.manifest import to_json
from runtime.schema import Feature, Float32Matrix, Schema
from runtime.session import Outputs

if TYPE_CHECKING:
    from exporter.oracle import Oracle
    from exporter.rows import ProofRows

Change = Callable[[Outputs], Outputs]


def by_numpy(layers: tuple[Layer, ...]) -> Callable[[Float32Matrix], Outputs]:
    """A correct contender: the network in numpy's float32."""

    def answer(features: Float32Matrix) -> Outputs:
        values = features
        with np.errstate(all="ignore"):
            for position, layer in enumerate(layers):
                values = np.maximum(values, 0) if position else values
                values = values @ layer.weight.T + layer.bias
            terms = np.exp(values - values.max(axis=1, keepdims=True))
            probabilities = terms / terms.sum(axis=1, keepdims=True)
        return Outputs(values.argmax(axis=1).astype(np.int64), probabilities, values)

    return answer


def changed(layers: tuple[Layer, ...], change: Change, name: str = "changed") -> Contender:
    """A contender whose right answers are changed before they are given."""
    answer = by_numpy(layers)
    return Contender(name, lambda features: change(answer(features)))


def replace(part: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change one output."""

    def change(outputs: Outputs) -> Outputs:
        return dataclasses.replace(outputs, **{part: make(getattr(outputs, part).copy())})

    return change


def put(row: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Put a value into a row, where the batch has it."""

    def make(array: np.ndarray) -> np.ndarray:
        array[row : row + 1] = value
        return array

    return make


def first_failure(report: Report) -> str:
    assert not report
    assert report.failure is not None
    return f"{report.failure.contender} {report.failure.batch}: {report.failure.reason}"


def test_correct_contenders_pass(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """Every cell is there, every row was run, and the error came near its bound."""
    matrix = [Contender("one", by_numpy(layers)), Contender("two", by_numpy(layers))]
    report = prove(matrix, rows, oracle)
    assert report
    require(report, consequence="never")
    assert report.contenders == ("one", "two")
    assert report.batches == BATCHES
    assert len(report.cells) == 2 * len(BATCHES)
    assert {cell.rows for cell in report.cells} == {0, report.rows}
    assert report.rows == len(rows.features)
    assert 0.01 < report.worst_error_over_bound <= 1
    assert 0 < report.cells[-1].worst_error < 1e-5
    assert report.undecidable_on_boundaries > 400
    assert report.undecidable < 5


def test_a_report_is_stored_and_read_as_it_is(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """parity.json holds all of it, the same bytes for the same proof."""
    report = prove([Contender("one", by_numpy(layers))], rows, oracle, batches=(0, 4096))
    content = to_json(report)
    assert msgspec.json.decode(content, type=Report) == report
    again = prove([Contender("one", by_numpy(layers))], rows, oracle, batches=(0, 4096))
    assert to_json(again) == content


WRONG: dict[str, tuple[Change, str]] = {
    "logit off": (
        replace("logits", put(0, 0.25)),
        "changed 4096: known row 0, features [",
    ),
    "logit NaN": (replace("logits", put(7, np.nan)), "known row 7, features ["),
    "logit infinite": (replace("logits", put(7, np.inf)), "got logits[0] = inf, expected "),
    "probability off": (
        replace("probabilities", lambda p: p + np.float32(1e-5)),
        "got probabilities[0] = ",
    ),
    "probability NaN": (replace("probabilities", put(3, np.nan)), "got probabilities[0] = nan"),
    "label of another class": (
        replace("label", lambda label: 1 - label),
        "but the first largest of its own logits [",
    ),
    "label below the classes": (replace("label", put(0, -1)), "got label -1, but"),
    "NaN rows answered": (
        replace("logits", lambda z: np.nan_to_num(z, nan=1.0)),
        "special row 0, features [nan, nan]: got logits[0] = 1, expected nan ± 0",
    ),
    "label too wide": (replace("label", lambda label: label[:, None]), "give label int64 (0, 1)"),
    "label too narrow": (
        replace("label", lambda label: label.astype(np.int32)),
        "0 rows from row 0 give label int32 (0,), expected int64 (0,)",
    ),
    "float64": (
        replace("logits", lambda z: z.astype(np.float64)),
        "give logits float64 (0, 2), expected float32 (0, 2)",
    ),
    "a row lost": (
        replace("probabilities", lambda p: p[1:]),
        "4096 rows from row 0 give probabilities float32 (4095, 2), expected float32 (4096, 2)",
    ),
    "a class lost": (
        replace("probabilities", lambda p: p[:, 1:]),
        "give probabilities float32 (0, 1)",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer_fails_and_is_named(
    fault: str, layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """One wrong number in any output, shape or dtype is found and described."""
    change, reason = WRONG[fault]
    report = prove([changed(layers, change)], rows, oracle, batches=(0, 4096))
    assert reason in first_failure(report)
    with pytest.raises(ParityError, match=r"first in changed at batch .*; stop here$"):
        require(report, consequence="stop here")


def test_a_label_may_not_point_beyond_the_classes_on_nan_rows(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """Where the logits are NaN any class may be answered, but a class it must be."""

    def beyond(outputs: Outputs) -> Outputs:
        lost = np.isnan(outputs.logits).any(axis=1)
        return dataclasses.replace(outputs, label=np.where(lost, 2, outputs.label))

    report = prove([changed(layers, beyond)], rows, oracle, batches=(4096,))
    assert "got label 2" in first_failure(report)


def test_a_label_that_fits_its_logits_must_still_be_the_oracles(
    layers: tuple[Layer, ...], rows: ProofRows
) -> None:
    """Where the bounds would let wrong logits pass, the label is what is left to judge."""
    known = dataclasses.replace(rows, features=rows.features[rows.block("known")])
    small = ask_oracle(layers, known.features)
    blind = dataclasses.replace(
        small,
        logits=dataclasses.replace(small.logits, error=np.full_like(small.logits.error, 100.0)),
        probabilities=dataclasses.replace(
            small.probabilities, error=np.full_like(small.probabilities.error, 2.0)
        ),
    )
    right = by_numpy(layers)(known.features)
    wrong = Outputs(1 - right.label, right.probabilities[:, ::-1], right.logits[:, ::-1])
    assert judge(right, known, blind, keeps_specials=True).reason is None
    verdict = judge(wrong, known, blind, keeps_specials=True)
    assert verdict.reason is not None
    assert f"known row 0, features [{known.features[0, 0]:.9g}, " in verdict.reason
    assert f"expected {small.label[0]} from logits [" in verdict.reason
    assert verdict.label_disagreements == len(known.features)


def test_what_a_contender_raises_is_a_failure_of_the_contender(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """A batch that it cannot run is a failed cell; the others are run and judged."""
    answer = by_numpy(layers)

    def only_large(features: Float32Matrix) -> Outputs:
        if len(features) < 32:
            raise RuntimeError("batch\nfrozen" + " at 32" * 100)
        return answer(features)

    report = prove([Contender("frozen", only_large)], rows, oracle, batches=(1, 4096))
    reason = first_failure(report)
    assert reason.startswith("frozen 1: it raised RuntimeError: batch frozen at 32")
    assert len(reason) < 350
    assert [cell.passed for cell in report.cells] == [False, True]


def test_the_first_failure_is_of_the_first_contender_and_batch(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """Later failures are counted."""
    wrong = replace("logits", put(0, 9.0))
    matrix = [
        Contender("good", by_numpy(layers)),
        changed(layers, wrong, "bad"),
        changed(layers, wrong, "worse"),
    ]
    report = prove(matrix, rows, oracle, batches=(32, 4096))
    assert first_failure(report).startswith("bad 32: known row 0")
    with pytest.raises(
        ParityError, match=r"^parity failed in 4 of 6 runs, first in bad at batch 32"
    ):
        require(report, consequence="stop")


def test_a_provider_known_to_lose_nan_is_not_asked_for_it(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """Such rows are counted as unjudged; all others are judged as everywhere."""

    def lose_nan(outputs: Outputs) -> Outputs:
        lost = np.isnan(outputs.logits)
        return Outputs(
            np.where(lost.any(axis=1), 0, outputs.label),
            np.where(lost, np.float32(0.5), outputs.probabilities),
            np.where(lost, np.float32(0), outputs.logits),
        )

    strict = changed(layers, lose_nan)
    lenient = dataclasses.replace(strict, keeps_specials=False)
    assert "special row 0" in first_failure(prove([strict], rows, oracle, batches=(4096,)))
    report = prove([lenient], rows, oracle, batches=(4096,))
    assert report
    assert report.cells[0].unjudged == int((oracle.special | ~oracle.bounded).sum())


def test_rows_are_run_in_batches_of_the_size_asked(
    layers: tuple[Layer, ...], rows: ProofRows, oracle: Oracle
) -> None:
    """All rows, in order, the last batch short; 0 is one empty batch."""
    answer = by_numpy(layers)
    sizes: list[int] = []

    def counting(features: Float32Matrix) -> Outputs:
        sizes.append(len(features))
        return answer(features)

    total = len(rows.features)
    assert prove([Contender("counting", counting)], rows, oracle, batches=(0, 1000))
    assert sizes == [0, *[1000] * (total // 1000), total % 1000]


def test_a_model_that_overflows_inside_the_ranges_is_not_provable() -> None:
    """Where nothing is promised of ordinary rows, there is no proof to give."""
    schema = Schema("kind", (Feature("f", 0.0, 1e30),), ("x", "y"))
    layers = (Layer(np.array([[1e10], [-1e10]], np.float32), np.zeros(2, np.float32)),)
    rows = draw_rows(schema, layers, np.ones((1, 1), np.float32))
    with pytest.raises(ParityError, match="may overflow float32"):
        prove([Contender("one", by_numpy(layers))], rows, ask_oracle(layers, rows.features))


def test_ties_go_to_the_first_class() -> None:
    """A model of equal logits is undecidable everywhere, and its label is the first class."""
    schema = Schema("kind", (Feature("f", 0.0, 1.0),), ("x", "y"))
    layers = (Layer(np.ones((2, 1), np.float32), np.zeros(2, np.float32)),)
    rows = draw_rows(schema, layers, np.ones((1, 1), np.float32))
    oracle = ask_oracle(layers, rows.features)
    good = prove([Contender("first", by_numpy(layers))], rows, oracle, batches=(32,))
    assert good
    assert good.undecidable > 4096
    last = changed(layers, replace("label", lambda label: label + 1), "last")
    assert "own logits" in first_failure(prove([last], rows, oracle, batches=(32,)))

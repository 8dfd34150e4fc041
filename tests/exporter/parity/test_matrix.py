"""The matrix checks outputs, whatever made them: backends here are plain functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from exporter.parity.backends import Backend, run_numpy
from exporter.parity.matrix import find_batch
from exporter.parity.report import Report, prove, require
from exporter.parity.rows import (
    BATCHES,
    CHUNK,
    FULL,
    ParityRows,
    Plan,
    RowChunk,
    RowGroup,
    draw_rows,
)
from exporter.parity.verdict import compare_outputs
from exporter.reference.layers import Layer
from exporter.reference.oracle import derive_reference, evaluate_layers, predict_with
from runtime.bundle.manifest import to_json
from runtime.errors import ParityError
from runtime.schema.features import Feature, Float32Matrix, Schema
from runtime.session import Outputs

if TYPE_CHECKING:
    from exporter.progress import Progress
    from exporter.reference.oracle import Reference, ReferenceOutputs

Change = Callable[[Outputs], Outputs]


def only(*batches: int) -> Plan:
    """All rows at some batch sizes."""
    return Plan(batches=batches, small=10**6, medium=10**6)


def changed(layers: tuple[Layer, ...], change: Change, name: str = "changed") -> Backend:
    """A backend whose correct outputs are changed before they are returned."""
    run = run_numpy(layers)
    return Backend(name, lambda features: change(run(features)))


def replace(part: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change one output."""

    def change(outputs: Outputs) -> Outputs:
        return msgspec.structs.replace(outputs, **{part: make(getattr(outputs, part).copy())})

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
    return f"{report.failure.backend} {report.failure.batch}: {report.failure.reason}"


def test_correct_backends_pass(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Every cell is there, every row was run, and the error came near its bound."""
    matrix = [Backend("one", run_numpy(layers)), Backend("two", run_numpy(layers))]
    report = prove(matrix, rows, reference)
    assert report
    require(report, command="again", consequence="never")
    assert report.backends == ("one", "two")
    assert report.batches == BATCHES
    assert len(report.cells) == 2 * len(BATCHES)
    assert report.rows == len(rows.features)
    sizes = {batch: report.cell("one", batch).rows for batch in BATCHES}
    assert sizes[0] == 0
    few, more = len(rows.first_of_each_group(FULL.small)), report.rows
    assert {sizes[batch] for batch in BATCHES[1:]} == {few, more}
    assert sizes[33] == few < more == sizes[1024]
    assert 0.01 < report.worst_error_over_bound <= 1
    assert 0 < report.cells[-1].worst_error < 1e-5
    assert report.cells[-1].worst_ulps > 0
    assert report.undecidable_on_boundaries > 400
    assert report.undecidable < 5
    last = report.cells[-1]
    assert last.undecidable == report.undecidable + report.undecidable_on_boundaries
    assert last.special_mismatches == 0


def test_a_report_is_stored_and_read_as_it_is(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """parity.json holds all of it, the same bytes for the same proof."""
    report = prove([Backend("one", run_numpy(layers))], rows, reference, plan=only(0, 4096))
    content = to_json(report)
    assert msgspec.json.decode(content, type=Report) == report
    again = prove([Backend("one", run_numpy(layers))], rows, reference, plan=only(0, 4096))
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
        replace("logits", lambda z: np.nan_to_num(z, nan=1.0, posinf=np.inf, neginf=-np.inf)),
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
    fault: str, layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """One wrong number in any output, shape or dtype is found and described."""
    change, reason = WRONG[fault]
    report = prove([changed(layers, change)], rows, reference, plan=only(0, 4096))
    assert reason in first_failure(report)
    with pytest.raises(ParityError, match=r"first in changed at batch .*; stop here$"):
        require(report, command="again", consequence="stop here")


def test_a_label_may_not_point_beyond_the_classes_on_nan_rows(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Where the logits are NaN any class is accepted, but the label must be a class."""

    def beyond(outputs: Outputs) -> Outputs:
        lost = np.isnan(outputs.logits).any(axis=1)
        return msgspec.structs.replace(outputs, label=np.where(lost, 2, outputs.label))

    report = prove(
        [changed(layers, beyond)],
        rows,
        reference,
        plan=only(
            4096,
        ),
    )
    assert "got label 2" in first_failure(report)


def test_a_label_that_fits_its_logits_must_still_be_the_references(
    layers: tuple[Layer, ...], rows: ParityRows
) -> None:
    """Where the bounds accept wrong logits, the label is still checked."""
    known = rows.take(np.arange(rows.group("known").stop))
    small = evaluate_layers(layers, known.features)
    blind = dataclasses.replace(
        small,
        logits=dataclasses.replace(small.logits, error=np.full_like(small.logits.error, 100.0)),
        probabilities=dataclasses.replace(
            small.probabilities, error=np.full_like(small.probabilities.error, 2.0)
        ),
    )
    right = run_numpy(layers)(known.features)
    wrong = Outputs(1 - right.label, right.probabilities[:, ::-1], right.logits[:, ::-1])
    assert compare_outputs(right, known, blind, keeps_specials=True).violation is None
    verdict = compare_outputs(wrong, known, blind, keeps_specials=True)
    assert verdict.violation is not None
    assert verdict.violation.row == 0
    assert f"expected {small.label[0]} from logits [" in verdict.violation.reason
    assert verdict.label_disagreements == len(known.features)


def test_what_a_backend_raises_is_its_failure(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """A batch that it cannot run is a failed cell; the others are run and checked."""
    run = run_numpy(layers)

    def only_large(features: Float32Matrix) -> Outputs:
        if len(features) < 32:
            raise RuntimeError("batch\nfrozen" + " at 32" * 100)
        return run(features)

    report = prove([Backend("frozen", only_large)], rows, reference, plan=only(1, 4096))
    reason = first_failure(report)
    assert reason.startswith("frozen 1: it raised RuntimeError: batch frozen at 32")
    assert len(reason) < 350
    assert [cell.passed for cell in report.cells] == [False, True]


def test_the_first_failure_is_of_the_first_backend_and_batch(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Later failures are counted."""
    wrong = replace("logits", put(0, 9.0))
    matrix = [
        Backend("good", run_numpy(layers)),
        changed(layers, wrong, "bad"),
        changed(layers, wrong, "worse"),
    ]
    report = prove(matrix, rows, reference, plan=only(32, 4096))
    assert first_failure(report).startswith("bad 32: known row 0")
    with pytest.raises(
        ParityError, match=r"^parity failed in 4 of 6 runs, first in bad at batch 32"
    ):
        require(report, command="again", consequence="stop")


def test_a_provider_known_to_lose_nan_is_not_checked_for_it(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Such rows are counted as unchecked; all others are checked as usual."""

    def lose_nan(outputs: Outputs) -> Outputs:
        lost = np.isnan(outputs.logits)
        return Outputs(
            np.where(lost.any(axis=1), 0, outputs.label),
            np.where(lost, np.float32(0.5), outputs.probabilities),
            np.where(lost, np.float32(0), outputs.logits),
        )

    strict = changed(layers, lose_nan)
    lenient = dataclasses.replace(strict, keeps_specials=False)
    assert "special row 0" in first_failure(
        prove(
            [strict],
            rows,
            reference,
            plan=only(
                4096,
            ),
        )
    )
    report = prove(
        [lenient],
        rows,
        reference,
        plan=only(
            4096,
        ),
    )
    assert report
    expected = reference.evaluate(rows.features)
    assert report.cells[0].unchecked == int((expected.special | ~expected.bounded).sum())
    assert report.cells[0].special_mismatches > 0


def test_rows_are_run_in_batches_of_the_size_asked(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """All rows, in order, the last batch short; 0 is one empty batch."""
    run = run_numpy(layers)
    sizes: list[int] = []

    def counting(features: Float32Matrix) -> Outputs:
        sizes.append(len(features))
        return run(features)

    total = len(rows.features)
    assert prove([Backend("counting", counting)], rows, reference, plan=only(0, 1000))
    assert sizes == [0, *[1000] * (total // 1000), total % 1000]


def test_a_model_that_overflows_inside_the_ranges_is_not_provable() -> None:
    """Where ordinary rows have no bound, nothing can be proven."""
    schema = Schema("kind", (Feature("f", 0.0, 1e30),), ("x", "y"))
    layers = (Layer(np.array([[1e10], [-1e10]], np.float32), np.zeros(2, np.float32)),)
    known = np.ones((1, 1), np.float32)
    rows = draw_rows(schema, predict_with(layers), known, Plan(uniform=4096))
    with pytest.raises(ParityError, match="may overflow float32"):
        prove([Backend("one", run_numpy(layers))], rows, derive_reference(layers))


def test_ties_go_to_the_first_class() -> None:
    """A model of equal logits is undecidable everywhere, and its label is the first class."""
    schema = Schema("kind", (Feature("f", 0.0, 1.0),), ("x", "y"))
    layers = (Layer(np.ones((2, 1), np.float32), np.zeros(2, np.float32)),)
    known = np.ones((1, 1), np.float32)
    rows = draw_rows(schema, predict_with(layers), known, Plan(uniform=4097))
    reference = derive_reference(layers)
    good = prove(
        [Backend("first", run_numpy(layers))],
        rows,
        reference,
        plan=only(
            32,
        ),
    )
    assert good
    assert good.undecidable > 4096
    last = changed(layers, replace("label", lambda label: label + 1), "last")
    assert "own logits" in first_failure(
        prove(
            [last],
            rows,
            reference,
            plan=only(
                32,
            ),
        )
    )


def test_the_reference_is_evaluated_once_a_chunk(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """However many backends and batch sizes there are; no chunk is larger than the limit."""
    evaluated: list[int] = []

    def counting(features: Float32Matrix) -> ReferenceOutputs:
        evaluated.append(len(features))
        return reference.evaluate(features)

    many = ParityRows(
        np.concatenate([np.tile(rows.features[:1000], (100, 1)), rows.features]),
        (RowGroup("first", 100_000, inside=True), *rows.groups),
    )
    matrix = [Backend(name, run_numpy(layers)) for name in ("one", "two", "three")]
    counted = dataclasses.replace(reference, evaluate=counting)
    report = prove(matrix, many, counted, plan=Plan(batches=(1, 33, 65_537), small=5))
    assert report
    assert report.rows == len(many.features)
    few = len(many.first_of_each_group(5))
    assert evaluated == [few, CHUNK, len(many.features) - CHUNK]


def test_a_wrong_row_in_a_late_chunk_is_named_by_its_number(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Row numbers count over all chunks."""
    many = ParityRows(
        np.concatenate([np.tile(rows.features[:1000], (100, 1)), rows.features]),
        (RowGroup("first", 100_000, inside=True), *rows.groups),
    )
    marked = many.features[100_003]
    run = run_numpy(layers)

    def late(features: Float32Matrix) -> Outputs:
        outputs = run(features)
        if len(features) + CHUNK == len(many.features):
            outputs.logits[100_003 - CHUNK] += 1
        return outputs

    report = prove([Backend("late", late)], many, reference, plan=only(CHUNK))
    assert first_failure(report).startswith(f"late 65537: known row 3, features [{marked[0]:.9g}, ")
    assert report.failure is not None
    assert report.failure.row == 100_003


def test_bits_are_compared_with_the_first_of_each_kind(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """A cell names the backends before it whose bits it has: logits alone, or everything."""
    run = run_numpy(layers)

    def rounded(outputs: Outputs) -> Outputs:
        return msgspec.structs.replace(
            outputs, probabilities=np.nextafter(outputs.probabilities, np.float32(0.5))
        )

    def uneven(features: Float32Matrix) -> Outputs:
        outputs = run(features)
        return outputs if len(features) == 1 else rounded(outputs)

    matrix = [
        Backend("first", run, kind="numpy"),
        Backend("second", run, kind="numpy"),
        Backend("rounded", lambda features: rounded(run(features))),
        Backend("uneven", uneven),
    ]
    report = prove(matrix, rows, reference, plan=Plan(batches=(0, 1, 32), small=2000))
    assert report
    said = {
        (cell.backend, cell.batch): (cell.logits_bit_equal_to, cell.bit_equal_to)
        for cell in report.cells
    }
    assert said["first", 1] == ((), ())
    assert said["second", 1] == said["second", 32] == (("first",), ("first",))
    assert said["rounded", 32] == (("first",), ())
    assert said["uneven", 1] == (("first", "rounded"), ("first",))
    assert said["uneven", 32] == (("first", "rounded"), ("rounded",))
    assert said["uneven", 0] == ((), ())
    assert not report.cell("uneven", 1).batch_invariant
    assert report.cell("uneven", 32).batch_invariant


def test_ulps_count_float32_steps_across_zero() -> None:
    """From the largest negative to the smallest positive number it is two steps."""
    layers = (Layer(np.ones((2, 1), np.float32), np.zeros(2, np.float32)),)
    tiny = np.finfo(np.float32).smallest_subnormal
    features = np.array([[tiny]], np.float32)
    part = RowChunk(features, np.arange(1), 1)
    outputs = Outputs(
        np.zeros(1, np.int64),
        np.full((1, 2), 0.5, np.float32),
        np.array([[-tiny, tiny]], np.float32),
    )
    verdict = compare_outputs(outputs, part, evaluate_layers(layers, features), keeps_specials=True)
    assert verdict.worst_ulps == 2


def test_the_matrix_reports_its_progress(
    layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """Every step is reported, up to the last."""
    steps: list[Progress] = []
    matrix = [Backend(name, run_numpy(layers)) for name in ("one", "two")]
    prove(matrix, rows, reference, plan=Plan(batches=(0, 1, 4096)), on_progress=steps.append)
    assert [step.done for step in steps] == list(range(1, 7))
    assert {step.total for step in steps} == {6}
    assert (steps[-1].backend, steps[-1].batch) == ("two", 4096)


@pytest.mark.parametrize("batch", [33, 1024, CHUNK])
def test_the_batch_of_a_row_is_the_one_that_the_matrix_runs(
    batch: int, layers: tuple[Layer, ...], rows: ParityRows, reference: Reference
) -> None:
    """The same rows at the same positions: torch's outputs depend on both."""
    many = ParityRows(
        np.concatenate([np.tile(rows.features[:1000], (100, 1)), rows.features]),
        (RowGroup("first", 100_000, inside=True), *rows.groups),
    )
    run, ran = run_numpy(layers), []

    def noting(features: Float32Matrix) -> Outputs:
        ran.append(features)
        return run(features)

    prove([Backend("noting", noting)], many, reference, plan=only(batch))
    starts = np.cumsum([0, *map(len, ran)])
    for row in (0, 40, 65_536, 65_537, 65_600, 100_001):
        which = int(np.searchsorted(starts, row, side="right")) - 1
        index = find_batch(many, only(batch), batch, row)
        assert np.array_equal(index, np.arange(starts[which], starts[which + 1]))
        narrowed = only(batch).only(None, batch, row)
        (cell,) = prove([Backend("noting", noting)], many, reference, plan=narrowed).cells
        assert cell.rows == len(index)
        assert np.array_equal(ran[-1], many.features[index], equal_nan=True)

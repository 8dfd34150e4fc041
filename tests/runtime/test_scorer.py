"""The scorer for engines: any batches, any process, the bits of ``runtime predict``."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv, feather, parquet

import runtime
from runtime import PartialSummary, Scorer
from runtime.errors import ArtifactError, BadRowsError, SchemaError, UnavailableError, UsageError
from runtime.model import LoadedModel
from runtime.schema.distribution import describe_values
from runtime.schema.features import Date, Feature, OneHot
from runtime.scorer import portable
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeBundle = Callable[..., Path]

RANDOM = np.random.default_rng(5)
ROWS = 500
PRODUCTS = pa.table(
    {
        "id": pa.array(range(ROWS)),
        "price": RANDOM.uniform(0, 12, ROWS).round(2),
        "rating": RANDOM.uniform(1, 5, ROWS).round(2),
        "truth": RANDOM.choice(["no", "yes", "perhaps"], ROWS),
    }
)


def with_gaps(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Every seventh value is missing."""
    return pa.array([None if n % 7 == 3 else value for n, value in enumerate(values)], kind)


def all_kinds() -> pa.Table:
    """Typed columns of every kind of feature, and columns that are carried."""
    numbers = RANDOM.uniform(-3, 12, ROWS)
    days = [dt.date(2024, 1, 1) + dt.timedelta(int(day)) for day in RANDOM.integers(0, 900, ROWS)]
    hours = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n) for n in range(ROWS)]
    return pa.table(
        {
            "tags": [["a"] * (n % 3) for n in range(ROWS)],
            "number": numbers,
            "single": pa.array(numbers.astype(np.float32)),
            "whole": with_gaps(list(range(ROWS))),
            "large": pa.array([2**53 + 2**30 * n + n for n in range(ROWS)]),
            "amount": with_gaps([Decimal(n) / 100 for n in range(ROWS)], pa.decimal128(9, 2)),
            "text": [str(n / 8) if n % 5 else "n/a" for n in range(ROWS)],
            "colour": with_gaps([["red", "green", "blå, mørk"][n % 3] for n in range(ROWS)]),
            "size": pa.array(
                [["S", "M", "L", "XL"][n % 4] for n in range(ROWS)]
            ).dictionary_encode(),
            "flag": with_gaps([n % 2 == 0 for n in range(ROWS)]),
            "day": with_gaps(days),
            "hour": pa.array(hours, pa.timestamp("us", "UTC")),
            "note": with_gaps([f"ø{n}" for n in range(ROWS)]),
        }
    )


@pytest.fixture
def kinds_bundle(make_bundle: MakeBundle) -> Path:
    """A linear model of features of every kind."""
    numbers = ["number", "single", "whole", "large", "amount", "text"]
    return make_bundle(
        [
            *(Feature(name, 0, 10) for name in numbers),
            Feature("colour", 0, 1, one_hot=OneHot(("", "blå, mørk", "green", "red"))),
            Feature("size", 0, 1, one_hot=OneHot(("L", "M", "S"), unseen="other")),
            Feature("flag", 0, 1, one_hot=OneHot(("", "false", "true"))),
            Feature("day", 0, 400, date=Date("2024-02-29")),
            Feature("hour", 0, 400, date=Date("2024-02-29")),
        ]
    )


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is open in this process."""
    monkeypatch.setattr(portable, "_opened", {})


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_every_kind_of_column_has_the_bits_of_files(
    kinds_bundle: Path, tmp_path: Path, kind: str
) -> None:
    """Numbers, categories, dates, booleans and gaps: values, types and reasons of predict."""
    table, source, out = all_kinds(), tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    write = parquet.write_table if kind == "parquet" else feather.write_feather
    read = parquet.read_table if kind == "parquet" else feather.read_table
    write(table, source)
    score_file(LoadedModel(kinds_bundle), source, out, Options(bad_rows="null", proba=True))
    scorer = Scorer(kinds_bundle, bad_rows="null", proba=True)
    scored = scorer(table)
    assert 100 < scored["label"].null_count < 400
    assert scored.equals(read(out))
    assert scored.schema == scorer.output_schema(table.schema)
    whole, batch = scored.combine_chunks(), table.to_batches()[0]
    for size in (1, 7, ROWS):
        parts = [scorer(batch.slice(start, size)) for start in range(0, ROWS, size)[:30]]
        joined = pa.Table.from_batches(parts).combine_chunks()
        assert joined.equals(whole[: len(joined)])
    assert scorer(pa.concat_tables([table[:9], table[9:]])).equals(scored)


def test_imputed_gaps_and_text_have_the_bits_of_files(sales_bundle: Path, tmp_path: Path) -> None:
    """A text table scored by predict, and its cells as columns of strings."""
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    cells = [["1.5", "", "9", "x"], ["red", "", "blå, mørk", "RED"], ["", "4", "5", "3.25"]]
    rows = [(a, b, c, d) for a in cells[0] for b in cells[1] for c in cells[2] for d in "SMLX"]
    names = ["price", "colour", "rating", "size"]
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    csv.write_csv(table, source)
    score_file(LoadedModel(sales_bundle), source, out, Options(bad_rows="null"))
    strings = csv.ConvertOptions(
        column_types=dict.fromkeys([*names, "label", "reason"], pa.string())
    )
    expected = csv.read_csv(out, convert_options=strings)
    scored = Scorer(sales_bundle, bad_rows="null")(table)
    for name in ("label", "reason"):
        assert [value or "" for value in scored[name].to_pylist()] == expected[name].to_pylist()
    found = expected["probability"].cast(pa.float32())
    assert scored["probability"].equals(found)
    assert 0 < scored["label"].null_count < len(rows)


def as_frame(table: pa.Table, library: str) -> Any:  # noqa: ANN401 - tables of many libraries
    if library == "dict":
        return {name: table[name].to_numpy() for name in table.column_names}
    module = pytest.importorskip(library)
    return table.to_pandas() if library == "pandas" else module.DataFrame(table)


def kinds_of(frame: Any) -> list[Any]:  # noqa: ANN401 - as above
    """The types of the columns."""
    if isinstance(frame, dict):
        return [(name, column.dtype) for name, column in frame.items()]
    return list(frame.dtypes)


@pytest.mark.parametrize("library", ["pandas", "polars", "dict"])
@pytest.mark.parametrize("missing", ["none", "one", "all"])
def test_frames_have_the_same_bits_and_types_whatever_the_rows(
    bundle: Path, library: str, missing: str
) -> None:
    """Frames without rows, without and with gaps: one type a column, the values of Arrow."""
    scorer = Scorer(bundle, bad_rows="null", proba=True, columns=["id", "price"])
    gaps = {"none": np.zeros(ROWS, bool), "one": np.arange(ROWS) == 7, "all": np.ones(ROWS, bool)}
    price = pa.array(PRODUCTS["price"].to_numpy(), mask=gaps[missing])
    table = PRODUCTS.set_column(1, "price", price)
    expected, frame = scorer(table), as_frame(table, library)
    scored = scorer(frame)
    assert type(scored) is type(frame)
    assert list(scored) == expected.column_names if library != "polars" else scored.columns
    for name in ("label", "probability", "probability_yes", "reason"):
        values = pa.array(np.asarray(scored[name]), expected[name].type, from_pandas=True)
        assert values.equals(expected[name].combine_chunks())
    empty = {name: column[:0] for name, column in frame.items()} if library == "dict" else frame[:0]
    assert kinds_of(scorer(empty)) == kinds_of(scored)


@pytest.mark.usefixtures("no_models")
def test_a_scorer_in_other_processes_needs_nothing_of_the_first(bundle_copy: Path) -> None:
    """Pickled with the bundle, which may be gone; it is small."""
    scorer = Scorer(bundle_copy)
    shutil.rmtree(bundle_copy)
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 20_000
    assert pickle.loads(pickled)(PRODUCTS).equals(scorer(PRODUCTS))  # noqa: S301 - our own


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_return_results_and_errors(bundle: Path, method: str) -> None:
    """Forked from a process that has scored, or started anew: same bits, same errors."""
    scorer = Scorer(bundle)
    expected = scorer(PRODUCTS)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as workers:
        assert workers.submit(scorer, PRODUCTS).result(60).equals(expected)
        bad = PRODUCTS.set_column(1, "price", pa.nulls(ROWS, pa.float64()))
        with pytest.raises(BadRowsError, match="500 of 500 rows cannot be scored") as raised:
            workers.submit(scorer, bad).result(60)
    assert runtime.errors.exit_code_of(raised.value) == 3


@pytest.mark.usefixtures("no_models")
def test_a_process_opens_a_model_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight copies in eight threads."""
    opened, start = [], LoadedModel.__init__

    def count(model: LoadedModel, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        opened.append(1)
        start(model, *arguments, **options)

    monkeypatch.setattr(LoadedModel, "__init__", count)
    pickled = pickle.dumps(Scorer(bundle))
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(lambda _: pickle.loads(pickled)(PRODUCTS), range(8)))  # noqa: S301
    assert all(output.equals(outputs[0]) for output in outputs)
    assert opened == [1]


@pytest.mark.usefixtures("no_models")
def test_the_worker_refuses_another_bundle(bundle_copy: Path, sales_bundle: Path) -> None:
    """By path, the bundle may have been replaced since; a damaged one is refused in any case."""
    scorer = Scorer(bundle_copy, embed=False)
    for file in sales_bundle.iterdir():
        shutil.copy(file, bundle_copy)
    with pytest.raises(ArtifactError, match=r"not the bundle that .* embed=True"):
        scorer(PRODUCTS)
    (bundle_copy / "model.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"not the file that was exported(.*\n)*.*embed=True"):
        scorer(PRODUCTS)


@pytest.mark.usefixtures("no_models")
def test_bytes_that_changed_on_the_way_are_refused(bundle: Path) -> None:
    """The digest is checked where the model is opened."""
    pickled = pickle.dumps(Scorer(bundle))
    at = pickled.rindex(b"logits") + 1
    damaged = pickle.loads(pickled[:at] + b"0" + pickled[at + 1 :])  # noqa: S301 - our own
    with pytest.raises(ArtifactError, match="was damaged on its way"):
        damaged(PRODUCTS)


def test_cuda_is_not_used_after_a_fork(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would fail with a message of its own."""
    model = LoadedModel(bundle, provider="cpu")
    monkeypatch.setattr(model.session, "provider", "cuda")
    parent = portable._OpenModels()  # noqa: SLF001 - a process that cannot be made here
    parent.by_key["digest", "auto", True] = model
    monkeypatch.setattr(portable, "_opened", {1: parent})
    with pytest.raises(UnavailableError, match='"spawn"'):
        Scorer(bundle)(PRODUCTS)
    assert Scorer(bundle, provider="cpu")(PRODUCTS).num_rows == ROWS


def test_rows_cannot_be_dropped_within_a_batch(bundle: Path) -> None:
    """The message says which filter does it."""
    with pytest.raises(UsageError, match="rows whose 'm_reason' is null"):
        Scorer(bundle, bad_rows="reject", prefix="m_")  # type: ignore[arg-type]
    scored = Scorer(bundle, bad_rows="null", prefix="m_")(
        PRODUCTS.set_column(1, "price", with_gaps(PRODUCTS["price"].to_pylist()))
    )
    kept = scored.filter(pc.is_null(scored["m_reason"]))
    assert kept.num_rows == ROWS - 71
    assert kept["m_label"].null_count == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bad_rows": "drop"}, 'choose "fail" or "null"'),
        ({"columns": "id"}, r"give \['id'\]"),
        ({"columns": [0]}, "columns must be names"),
        ({"provider": "tpu"}, "unknown provider 'tpu'"),
        ({"decimal": ";"}, 'decimal=";": choose'),
    ],
)
def test_invalid_options_are_refused(bundle: Path, options: dict[str, Any], message: str) -> None:
    """Where the scorer is made, not on a worker."""
    with pytest.raises(UsageError, match=message):
        Scorer(bundle, **options)


def test_batches_are_numbered_and_summarized(bundle: Path) -> None:
    """Records go on through the batches; each batch has its summary first."""
    parts: list[PartialSummary] = []
    scorer = Scorer(bundle, bad_rows="null")
    batches = PRODUCTS.to_batches(max_chunksize=100)
    outputs = list(scorer.batches(batches, parts.append))
    assert pa.Table.from_batches(outputs).equals(scorer(PRODUCTS).combine_chunks())
    assert [part.rows for part in parts] == [100] * 5
    bad = PRODUCTS.set_column(1, "price", pa.array([*[1.0] * 250, None, *[1.0] * 249]))
    outputs_until_bad = Scorer(bundle).batches(bad.to_batches(max_chunksize=100))
    assert [next(outputs_until_bad).num_rows for _ in range(2)] == [100, 100]
    with pytest.raises(BadRowsError, match="record 251, column 'price'"):
        next(outputs_until_bad)


@pytest.fixture
def drift_bundle(make_bundle: MakeBundle) -> Path:
    """A model whose features have a distribution."""
    seen = describe_values(np.linspace(0, 10, 100, dtype=np.float32))
    return make_bundle(
        [
            Feature(name, 0, 10, quantiles=seen.quantiles, shares=seen.shares)
            for name in ("price", "rating")
        ]
    )


def test_summaries_of_parts_are_that_of_the_file(drift_bundle: Path, tmp_path: Path) -> None:
    """Counts, reasons, ranges, accuracy and drift equal those of ``runtime predict``."""
    table = PRODUCTS.set_column(1, "price", with_gaps(PRODUCTS["price"].to_pylist()))
    source, options = tmp_path / "in.parquet", {"bad_rows": "null", "truth": "truth"}
    parquet.write_table(table, source)
    model, out = LoadedModel(drift_bundle), tmp_path / "out.csv"
    drift = tmp_path / "drift.json"
    whole = score_file(model, source, out, Options(**options, drift=drift))  # type: ignore[arg-type]
    scorer = Scorer(drift_bundle, **options, drift=True)  # type: ignore[arg-type]
    parts = [scorer.score(table[start : start + 60])[1] for start in range(0, ROWS, 60)]
    found = scorer.summarize(reversed(parts), seconds=2)
    for name in ("rows", "scored", "rejected", "reasons", "out_of_range", "truth", "drift"):
        assert getattr(found, name) == getattr(whole, name), name
    assert (found.model, found.provider, found.rows_per_second) == (whole.model, "cpu", ROWS / 2)
    assert len(pickle.dumps(parts[0])) < 5000
    assert scorer.summarize([]).rows == 0
    with pytest.raises(UsageError, match="different bundles or options"):
        scorer.summarize([Scorer(drift_bundle).score(table[:1])[1]])


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars", "dict"])
@pytest.mark.parametrize("columns", [[], ["price"], ["truth", "rating", "price", "id"]])
def test_columns_are_kept_in_the_order_given(
    bundle: Path, library: str, columns: list[str]
) -> None:
    """None, some, or all in another order."""
    batch = PRODUCTS if library == "pyarrow" else as_frame(PRODUCTS, library)
    scored = Scorer(bundle, columns=columns)(batch)
    names = getattr(scored, "column_names", list(getattr(scored, "columns", scored)))
    assert names == [*columns, "label", "probability"]
    assert len(scored["label"]) == ROWS


DDL = "id BIGINT, `rating` DOUBLE NOT NULL COMMENT 'a, b', price DECIMAL(10,2), x MAP<INT, STRING>"


def test_spark_schemas_are_extended_as_text(bundle: Path) -> None:
    """DDL keeps the text of the columns; new names are quoted where they have to be."""
    scorer = Scorer(bundle, bad_rows="null", prefix="my ")
    new = "`my label` STRING, `my probability` FLOAT, `my reason` STRING"
    assert scorer.output_schema(DDL) == f"{DDL}, {new}"
    chosen = Scorer(bundle, columns=["x", "id"])
    assert (
        chosen.output_schema(DDL)
        == "x MAP<INT, STRING>, id BIGINT, label STRING, probability FLOAT"
    )
    assert (
        Scorer(bundle, columns=[]).output_schema("rating:DOUBLE, price : INT").startswith("label")
    )
    with pytest.raises(SchemaError, match="'price' has type list"):
        scorer.output_schema("rating DOUBLE, price ARRAY<DOUBLE>")
    with pytest.raises(SchemaError, match="price"):
        scorer.output_schema("rating DOUBLE")
    with pytest.raises(UsageError, match="'price' is no column of Spark's DDL"):
        scorer.output_schema("rating DOUBLE, price")
    with pytest.raises(UsageError, match="a list is no schema"):
        scorer.output_schema(["rating"])


def test_polars_lazy_frames_are_streamed(bundle: Path) -> None:
    """``map_batches`` with the schema that the scorer declares."""
    polars = pytest.importorskip("polars")
    scorer, lazy = Scorer(bundle), polars.LazyFrame(PRODUCTS)
    schema = scorer.output_schema(lazy.collect_schema())
    scored = lazy.map_batches(scorer, schema=schema, streamable=True).collect()
    assert scored.schema == schema
    assert scored["label"].to_list() == scorer(PRODUCTS)["label"].to_pylist()


def test_objects_without_columns_are_refused(bundle: Path) -> None:
    """A matrix has no names."""
    with pytest.raises(UsageError, match="a ndarray has no named columns"):
        Scorer(bundle)(np.ones((2, 2)))

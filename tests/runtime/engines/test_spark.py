"""Spark on a real cluster: the bits of ``runtime predict``, rows and summaries counted once."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from runtime import Predictor, Scorer
from runtime.engines import spark as engine
from runtime.errors import (
    ArtifactError,
    BadRowsError,
    DataError,
    SchemaError,
    UnavailableError,
    UsageError,
    exit_code_of,
    find_error,
)
from runtime.model import LoadedModel
from runtime.schema.distribution import describe_values
from runtime.schema.features import Date, Feature, OneHot
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file

pytest.importorskip("pyspark", reason="needs Spark and Java: make engines installs it")

from spark_cluster import kill_once, start_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeBundle = Callable[..., Path]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # of Spark's own code
]

ROWS = 400
SESSIONS = ("classic", "connect")
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A classic session and one of Spark Connect, with different settings, on one cluster."""
    with start_cluster(tmp_path_factory.mktemp("spark")) as found:
        found["classic"].conf.set("spark.sql.ansi.enabled", "true")
        found["classic"].conf.set("spark.sql.session.timeZone", "America/New_York")
        found["connect"].conf.set("spark.sql.ansi.enabled", "false")
        found["connect"].conf.set("spark.sql.session.timeZone", "Asia/Kathmandu")
        yield found


@pytest.fixture(params=SESSIONS)
def session(request: pytest.FixtureRequest, sessions: dict[str, Any]) -> Any:  # noqa: ANN401 - pyspark has two classes
    """One of them."""
    return sessions[request.param]


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products with gaps and true classes, in Parquet."""
    path = tmp_path_factory.mktemp("products") / "products.parquet"
    price = RANDOM.uniform(0, 12, ROWS).round(2)
    columns = {
        "id": pa.array(range(ROWS)),
        "price": pa.array([None if n % 7 == 3 else value for n, value in enumerate(price)]),
        "rating": RANDOM.uniform(1, 5, ROWS).round(2),
        "truth": RANDOM.choice(["no", "yes", "perhaps"], ROWS),
    }
    parquet.write_table(pa.table(columns), path)
    return path


def with_gaps(values: list[Any], kind: pa.DataType | None = None, at: int = 3) -> pa.Array:
    """Every seventh value is missing."""
    return pa.array([None if n % 7 == at else value for n, value in enumerate(values)], kind)


def all_kinds() -> pa.Table:
    """Columns of every type that Spark writes."""
    start, utc = dt.datetime(2024, 1, 1), pa.timestamp("us", "UTC")  # noqa: DTZ001 - a wall clock
    hours = [start + dt.timedelta(hours=7 * n) for n in range(ROWS)]
    numbers = RANDOM.uniform(-3, 12, ROWS)
    return pa.table(
        {
            "id": pa.array(range(ROWS)),
            "a.b `c`": [{"x": n, "y": [str(n), None]} for n in range(ROWS)],
            "number": numbers,
            "single": pa.array(numbers.astype(np.float32)),
            "whole": with_gaps([n % 9 for n in range(ROWS)], pa.int16()),
            "amount": with_gaps([Decimal(n % 900) / 100 for n in range(ROWS)], pa.decimal128(9, 2)),
            "large": pa.array([Decimal(10**30 + n) for n in range(ROWS)], pa.decimal128(38, 3)),
            "text": [str(n % 80 / 8) if n % 5 else "n/a" for n in range(ROWS)],
            "colour": with_gaps([["red", "green", "blå, mørk"][n % 3] for n in range(ROWS)], at=4),
            "flag": with_gaps([n % 2 == 0 for n in range(ROWS)], at=5),
            "day": with_gaps([hour.date() for hour in hours]),
            "hour": pa.array(hours, pa.timestamp("us")).cast(utc),
            "wall": with_gaps(hours, pa.timestamp("us")),
            "bytes": with_gaps([bytes([n % 256, 0]) for n in range(ROWS)], pa.binary()),
            "map": pa.array([[("k", n)] for n in range(ROWS)], pa.map_(pa.string(), pa.int32())),
        }
    )


@pytest.fixture
def kinds_bundle(make_bundle: MakeBundle) -> Path:
    """A linear model of features of every kind."""
    return make_bundle(
        [
            *(Feature(name, 0, 10) for name in ("number", "single", "whole", "amount", "text")),
            Feature("colour", 0, 1, one_hot=OneHot(("", "blå, mørk", "green", "red"))),
            Feature("flag", 0, 1, one_hot=OneHot(("", "false", "true"))),
            *(Feature(name, 0, 400, date=Date("2024-02-29")) for name in ("day", "hour", "wall")),
        ]
    )


def test_every_type_has_the_bits_of_files(
    session: Any,  # noqa: ANN401
    kinds_bundle: Path,
    tmp_path: Path,
) -> None:
    """In any time zone, with ANSI mode or not, nested columns and empty partitions included."""
    source, expected, out = (tmp_path / name for name in ("in.parquet", "e.parquet", "out"))
    parquet.write_table(all_kinds(), source)
    Predictor(kinds_bundle).score_file(source, expected, bad_rows="null", proba=True)
    df = session.read.parquet(str(source)).repartition(3, "flag")  # of which one is empty
    scorer = Scorer(kinds_bundle, bad_rows="null", proba=True)
    scored = engine.score(df, scorer)
    assert scored.schema == scorer.output_schema(df.schema)
    scored.write.option("compression", "none").parquet(str(out))
    written, reference = parquet.read_table(out).sort_by("id"), parquet.read_table(expected)
    assert written.column_names == reference.column_names
    assert 50 < reference["label"].null_count < 300
    for name in written.column_names:
        assert written[name].to_pylist() == reference[name].to_pylist() or _same_instants(
            written[name], reference[name]
        ), name


def _same_instants(found: pa.ChunkedArray, expected: pa.ChunkedArray) -> bool:
    """Spark stores INT96, which has no zone."""
    microseconds = pa.timestamp("us")
    return bool(
        pa.types.is_timestamp(found.type)
        and found.cast(microseconds).equals(expected.cast(microseconds))
    )


@pytest.fixture
def drift_bundle(make_bundle: MakeBundle) -> Path:
    """A model whose features have a distribution."""
    seen = describe_values(np.linspace(0, 10, 100, dtype=np.float32))
    ranges: dict[str, Any] = {"quantiles": seen.quantiles, "shares": seen.shares}
    return make_bundle([Feature(name, 0, 10, **ranges) for name in ("price", "rating")])


def test_a_summary_is_that_of_predict(
    session: Any,  # noqa: ANN401
    products: Path,
    drift_bundle: Path,
    tmp_path: Path,
) -> None:
    """Counts, accuracy and drift, with the names of other columns; of what was scored, too."""
    options: dict[str, Any] = {"bad_rows": "null", "truth": "truth"}
    drift = tmp_path / "drift.json"
    whole = score_file(
        LoadedModel(drift_bundle), products, tmp_path / "out.csv", Options(**options, drift=drift)
    )
    scorer = Scorer(drift_bundle, **options, drift=True)
    df = session.read.parquet(str(products)).repartition(5)
    found = engine.summarize(df, scorer)
    for name in ("rows", "scored", "reasons", "out_of_range", "truth", "drift", "provider"):
        assert getattr(found, name) == getattr(whole, name), name
    again = engine.summarize(engine.score(df, scorer), scorer)
    assert (again.rows, again.reasons, again.truth) == (whole.rows, whole.reasons, whole.truth)
    assert engine.summarize(df.where("id < 0"), scorer).rows == 0


def test_names_that_spark_cannot_resolve_are_carried(
    sessions: dict[str, Any], bundle: Path
) -> None:
    """Dots and a label that exists; other case only where Spark tells it apart."""
    session = sessions["classic"]
    df = session.createDataFrame([(1, 7.5, 3.0, "x", "y")], ["id", "price", "rating", "r", "label"])
    scored = engine.score(df.toDF("a.b", "price", "rating", "`c` d", "r"), bundle)
    assert scored.columns == ["a.b", "price", "rating", "`c` d", "r", "label", "probability"]
    assert scored.collect()[0][:6] == (1, 7.5, 3.0, "x", "y", "yes")
    with pytest.raises(DataError, match="repeated column names, such as 'r'"):
        engine.score(df.toDF("r", "price", "rating", "r", "r"), bundle)
    with pytest.raises(SchemaError, match=r"already has a column 'label'.*prefix="):
        engine.score(df, bundle)
    chosen = engine.score(df, Scorer(bundle, prefix="new_", columns=["label", "id"]))
    assert chosen.collect()[0][:3] == ("y", 1, "yes")
    shouted = df.withColumnRenamed("label", "LABEL")
    with pytest.raises(SchemaError, match=r"'LABEL', and Spark does not tell .* prefix="):
        engine.score(shouted, bundle)
    session.conf.set("spark.sql.caseSensitive", "true")
    try:
        assert engine.score(shouted, bundle).collect()[0][5] == "yes"
    finally:
        session.conf.set("spark.sql.caseSensitive", "false")
    with pytest.raises(SchemaError, match="price"):
        engine.score(df.drop("price"), bundle)
    months = df.selectExpr("price", "rating", "interval '1' year AS age")
    with pytest.raises(SchemaError, match=r"'age' has type interval year.*with columns$"):
        engine.score(months, bundle)
    assert engine.score(months, Scorer(bundle, columns=[])).collect()[0][0] == "yes"
    with pytest.raises(UsageError, match="a pandas DataFrame is no data frame of Spark"):
        engine.score(df.toPandas(), bundle)


def test_an_error_of_a_worker_is_that_of_one_machine(session: Any, bundle: Path) -> None:  # noqa: ANN401
    """Class, message and exit code, after Spark's four attempts."""
    rows = pa.table({"price": [7.5, None, 2.0], "rating": [3.0, 3.0, 1e39]})
    with pytest.raises(BadRowsError) as expected:
        Scorer(bundle)(rows)
    df = session.createDataFrame(rows.to_pylist(), "price double, rating double").coalesce(1)
    with pytest.raises(Exception, match="BadRowsError") as raised:
        engine.score(df, bundle).collect()
    found = find_error(raised.value)
    assert type(found) is BadRowsError
    assert str(found) == str(expected.value)
    assert exit_code_of(raised.value) == 3
    with pytest.raises(BadRowsError) as summarized:
        engine.summarize(df, bundle)
    assert str(summarized.value) == str(expected.value)


def test_workers_read_an_archive(session: Any, bundle: Path, tmp_path: Path) -> None:  # noqa: ANN401
    """Spark ships and unpacks it; the message says how."""
    name = f"bundle{id(session)}"
    shutil.make_archive(str(tmp_path / name), "zip", bundle)
    session.addArtifacts(f"{tmp_path / name}.zip#{name}", archive=True)
    df = session.createDataFrame([(7.5, 3.0)], "price double, rating double")
    scored = engine.score(df, bundle, archive=name)
    assert scored.collect()[0].label == "yes"
    assert engine.summarize(df, bundle, archive=name).rows == 1
    with pytest.raises(ArtifactError, match=r'"bundle.zip#absent", archive=True'):
        engine.summarize(df, bundle, archive="absent")


def without_onnxferry(folder: Path) -> str:
    """Python -S reads no .pth file, so that an editable onnxferry is not found."""
    python, site = folder / "python", Path(pa.__file__).parents[1]
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site}:$PYTHONPATH exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_a_worker_without_onnxferry_says_so(
    sessions: dict[str, Any], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the command that installs it."""
    session = sessions["classic"]
    monkeypatch.setattr(session.sparkContext, "pythonExec", without_onnxferry(tmp_path))
    df = session.createDataFrame([(7.5, 3.0)], "price double, rating double")
    with pytest.raises(UnavailableError, match=r"onnxferry is missing .*install onnxferry \d"):
        engine.summarize(df, bundle)


def test_killed_workers_and_executors_lose_and_double_nothing(
    sessions: dict[str, Any], bundle: Path, tmp_path: Path
) -> None:
    """By ids; a stage that scored is repeated, which an accumulator counts twice."""
    spark, rows = sessions["classic"], 40_000
    spark.conf.set("spark.sql.adaptive.enabled", "false")  # one job a query
    df = spark.range(0, rows, 1, 4).selectExpr(
        "id", "id % 97 / 8 AS price", "CASE WHEN id % 50 = 7 THEN NULL ELSE id % 5 END AS rating"
    )
    worker = kill_once(tmp_path / "worker", 1, executor=False)
    executor = kill_once(tmp_path / "executor", 0, executor=True)
    counter = spark.sparkContext.accumulator(0)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counter.add(batch.num_rows)
            yield batch

    scorer = Scorer(bundle, bad_rows="null")
    counted = df.mapInArrow(worker, df.schema).mapInArrow(count, df.schema)
    scored = engine.score(counted, scorer)
    out = tmp_path / "out"
    scored.repartition(3).mapInArrow(executor, scored.schema).write.parquet(str(out))
    assert (tmp_path / "worker").exists()
    assert (tmp_path / "executor").exists()
    assert (out / "_SUCCESS").exists()
    written = parquet.read_table(out).sort_by("id")
    assert written["id"].to_pylist() == list(range(rows))
    expected = scorer(df.toArrow())
    assert written["probability"].equals(expected["probability"])
    assert counter.value > rows

    again = kill_once(tmp_path / "again", 2, executor=True)
    summary = engine.summarize(df.mapInArrow(again, df.schema), scorer)
    assert (tmp_path / "again").exists()
    assert (summary.rows, summary.rejected) == (rows, rows // 50)


def test_an_mlflow_model_scores_where_onnxferry_is_missing(
    sessions: dict[str, Any], kinds_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``spark_udf`` of the package: numbers, decimals, dates, categories and booleans with gaps."""
    mlflow = pytest.importorskip("mlflow", reason="needs MLflow: make engines installs it")
    from exporter.packaging.package import package_bundle

    session, source = sessions["classic"], tmp_path / "in.parquet"
    monkeypatch.setattr(session.sparkContext, "pythonExec", without_onnxferry(tmp_path))
    session.conf.set("spark.sql.session.timeZone", "UTC")
    model = package_bundle(kinds_bundle, "mlflow", tmp_path / "mlflow").path
    scored = Scorer(kinds_bundle, bad_rows="null")(all_kinds())
    good = scored.filter(pc.is_null(scored["reason"]))
    assert good["colour"].null_count
    assert good["flag"].null_count
    parquet.write_table(good.drop_columns(["label", "probability", "reason"]), source)
    predict = mlflow.pyfunc.spark_udf(session, str(model), env_manager="local")
    names = Scorer(kinds_bundle).schema.feature_names
    df = session.read.parquet(str(source))
    found = df.select("id", predict(*names).alias("p")).select("id", "p.*").toArrow().sort_by("id")
    assert found["label"].to_pylist() == good["label"].to_pylist()
    assert found["probability"].to_pylist() == good["probability"].to_pylist()

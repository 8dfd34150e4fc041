"""Ray, with a real cluster on this machine: the bytes of one machine, each row once."""

from __future__ import annotations

import functools
import gzip
import json
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from runtime import Predictor, Scorer
from runtime.engines.job import ClusterOptions, EngineJob
from runtime.errors import (
    BadRowsError,
    DataError,
    UnavailableError,
    UsageError,
    exit_code_of,
    find_error,
)
from runtime.scoring.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ray = pytest.importorskip("ray.data", reason="needs Ray: make engines installs it")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own

ROWS, TABLES = 3000, 6
PREDICT: list[str | Path] = [Path(sys.executable).with_name("runtime"), "predict"]


def products(first: int = 0, rows: int = ROWS) -> pa.Table:
    """Products with ids from ``first`` on."""
    random = np.random.default_rng(first)
    return pa.table(
        {
            "id": np.arange(first, first + rows),
            "price": random.uniform(0, 12, rows).round(2),
            "rating": random.uniform(1, 5, rows).round(2),
        }
    )


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of CSV files with consecutive ids, one of them in a folder of its own."""
    folder = tmp_path / "tables"
    (folder / "day").mkdir(parents=True)
    for number in range(TABLES):
        path = folder / ("day/0.csv" if number == 0 else f"{number}.csv")
        csv.write_csv(products(number * ROWS), path)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this process with two processors."""
    import ray as core

    # Sockets in it need a short path; otherwise Ray leaves its files in /tmp/ray.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        core.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        context = core.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.read_op_min_num_blocks = 2  # not 200 tasks for a small file
        yield
        core.shutdown()


def run(
    *arguments: str | Path, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``runtime predict`` in a folder."""
    return subprocess.run(
        [*PREDICT, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def job(
    bundle: Path, source: Path, out: Path, *, resume: bool = False, proba: bool = False
) -> EngineJob:
    """A job for one worker: each starts a process, which takes seconds."""
    return EngineJob(bundle, source, out, Options(proba=proba), ClusterOptions(None, 1, 0, resume))


def ids(folder: Path) -> list[int]:
    """The ids in all tables of a folder, sorted."""
    found = [csv.read_csv(path)["id"].to_pylist() for path in folder.rglob("*.csv")]
    return sorted(functools.reduce(operator.iadd, found, []))


def children(of: int) -> list[str]:
    """Processes whose command line names the session of a process that started Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if re.search(rf"session_[\d_-]+_{of}\b", words):
                found.append(words)
    return found


def test_every_format_and_option_has_the_bytes_of_one_machine(
    bundle: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Outputs, rejected rows, drift, accuracy and summary equal those of ``runtime predict``."""
    source = tmp_path / "in"
    (source / "year=2024").mkdir(parents=True)
    text = 'id;price;rating;truth\r\n007;1,50;3,0;no\r\n008;abc;4,0;yes\r\n"0;9";8,5;4,25;no\r\n'
    (source / "old.csv.gz").write_bytes(gzip.compress(text.encode() + b"10;9,0;4,0;m\xe4h\r\n"))
    (source / "lines.jsonl").write_text('{"price": "7,5", "rating": 3, "truth": "yes"}\n')
    with_truth = products(40).append_column("truth", pa.array(["yes", "no"] * (ROWS // 2)))
    parquet.write_table(with_truth, source / "year=2024" / "typed.parquet")
    words: list[str | Path] = ["--bundle", bundle, "--file", "in", "--bad-rows", "reject"]
    words += ["--proba", "all", "--json"]
    words += ["--decimal", ",", "--prefix", "p_", "--truth", "truth"]
    words += ["--drift"]
    here = run(*words, "drift.json", "--out", "one", folder=tmp_path, environment=environment)
    words = ["--engine", "ray", *words]
    there = run(*words, "ray.json", "--out", "many", folder=tmp_path, environment=environment)
    assert here.returncode == 0, here.stderr
    assert (there.returncode, there.stderr) == (0, "")
    names = sorted((tmp_path / "one").rglob("*.*"))
    assert len(names) == 6
    for name in names:
        other = tmp_path / "many" / name.relative_to(tmp_path / "one")
        assert other.read_bytes() == name.read_bytes()
    success = json.loads((tmp_path / "many" / "_SUCCESS").read_text())
    assert len(success["parts"]) == 6
    assert (tmp_path / "drift.json").read_bytes() == (tmp_path / "ray.json").read_bytes()
    expected, found = json.loads(here.stdout), json.loads(there.stdout)
    for key in ("seconds", "rows_per_second", "provider_reason", "files", "rejects"):
        del expected[key], found[key]
    assert found == expected
    assert found["rejected"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drift.json", "in", "many", "one", "ray.json",
    ]  # fmt: skip


def test_a_terminated_command_leaves_nothing_running_or_published(
    bundle: Path, tables: Path, environment: Mapping[str, str]
) -> None:
    """SIGTERM ends the cluster that the command has started, with the exit code of the signal."""
    words: list[str | Path] = ["--bundle", bundle, "--file", tables, "--out", "scored"]
    with subprocess.Popen(
        [*PREDICT, "--engine", "ray", *words], cwd=tables.parent, env=environment
    ) as process:
        deadline = time.monotonic() + 120
        while not children(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 30
    while (left := children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert not (tables.parent / "scored").exists()


@pytest.mark.usefixtures("cluster")
def test_a_bad_row_ends_the_job_with_its_own_message(bundle: Path, tables: Path) -> None:
    """The error of a worker is that of one machine, and nothing stays."""
    from runtime.engines.ray.tables import score_on_ray

    (tables / "bad.csv").write_text("id,price,rating\n1,abc,3\n")
    out = tables.parent / "scored"
    with pytest.raises(BadRowsError, match=r"bad\.csv: 1 of 1 rows cannot be scored") as caught:
        score_on_ray(job(bundle, tables, out))
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith('continue with bad_rows="reject" or bad_rows="null"')
    assert list(tables.parent.iterdir()) == [tables]


@pytest.mark.usefixtures("cluster")
def test_killed_workers_lose_and_double_nothing(bundle: Path, tables: Path) -> None:
    """Each row is written and counted once, although a worker is killed while it writes."""
    from runtime.engines.ray.tables import score_on_ray

    out, killed = tables.parent / "scored", list[int]()
    for number in range(TABLES):
        csv.write_csv(products(number * 300_000, 300_000), tables / f"{number}.csv")
    (tables / "day" / "0.csv").unlink()

    def kill() -> None:
        """Kill the process that has a staged file open."""
        while not killed:
            for link in Path("/proc").glob("[0-9]*/fd/*"):
                try:
                    target = str(link.readlink())
                except OSError:
                    continue
                if "scored.partial" in target and "/parts/" in target:
                    killed.append(int(link.parts[2]))
                    os.kill(killed[0], signal.SIGKILL)
                    return

    thread = Thread(target=kill, daemon=True)
    thread.start()
    result = score_on_ray(job(bundle, tables, out))
    thread.join(1)
    assert len(killed) == 1
    assert killed[0] != os.getpid()
    assert result.summary.rows == TABLES * 300_000
    assert ids(out) == list(range(TABLES * 300_000))
    assert not list(tables.parent.glob("*.partial"))


@pytest.mark.usefixtures("cluster")
def test_a_table_that_ends_its_workers_ends_the_job(bundle: Path, tables: Path) -> None:
    """After four attempts, with its name; what is complete is kept for another try."""
    from runtime.engines.ray.tables import score_on_ray

    for path in tables.glob("*.csv"):
        path.unlink()
    csv.write_csv(products(ROWS, 1_000_000), tables / "large.csv")  # longer than a look at it
    out, killed = tables.parent / "scored", list[int]()

    def kill() -> None:
        """Kill the process that works on the table, the fourth one."""
        while not killed:
            for mark in tables.parent.glob("scored.partial/*/attempts/large.csv/[!.]*"):
                for number in range(3):  # benchmarks/engine_faults.py kills all of them
                    mark.with_name(str(number)).touch()
                killed.append(int(mark.read_text().split()[1]))
                os.kill(killed[0], signal.SIGKILL)
                return

    thread = Thread(target=kill, daemon=True)
    thread.start()
    message = r"large\.csv: 4 workers ended while they worked on it.*resume=True then continues"
    with pytest.raises(UnavailableError, match=message) as caught:
        score_on_ray(job(bundle, tables, out))
    thread.join(1)
    assert len(killed) == 1
    assert caught.value.exit_code == 6
    assert not out.exists()
    whole = len(list(tables.parent.glob("scored.partial/*/records/*")))  # Ray has the order
    result = score_on_ray(job(bundle, tables, out, resume=True))
    assert (result.resumed, result.summary.rows) == (whole, ROWS + 1_000_000)


@pytest.mark.usefixtures("cluster")
def test_one_table_is_divided(bundle: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its spans are found and scored by the workers, and joined to the bytes of one machine."""
    from runtime.engines import spans
    from runtime.engines.ray.tables import score_on_ray

    monkeypatch.setattr(spans, "WINDOW_BYTES", 10_000)
    table, seen = tables / "1.csv", list[int]()
    there = EngineJob(bundle, table, tables.parent / "there.csv", Options())  # on both workers
    result = score_on_ray(there, None, lambda size, _rows: seen.append(size))
    here = Predictor(bundle).score_file(table, tables.parent / "here.csv")
    assert there.out.read_bytes() == (tables.parent / "here.csv").read_bytes()
    assert result.summary.rows == here.rows == ROWS
    assert len(seen) > 3
    assert seen[-1] == table.stat().st_size
    assert not list(tables.parent.glob("*.partial"))


@pytest.mark.usefixtures("cluster")
def test_an_interrupted_run_is_resumed(bundle: Path, tables: Path) -> None:
    """Complete tables of an interrupted run are not scored again; another run is refused."""
    from runtime.engines.ray.tables import score_on_ray

    out = tables.parent / "scored"

    def interrupt(_table: Path, number: int, _tables: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_on_ray(job(bundle, tables, out), interrupt)
    assert not out.exists()
    with pytest.raises(UsageError, match="the interrupted run had options of its own: leave out"):
        score_on_ray(job(bundle, tables, out, proba=True, resume=True))
    result = score_on_ray(job(bundle, tables, out, resume=True))
    assert 2 <= result.resumed <= TABLES
    assert result.summary.rows == TABLES * ROWS
    assert ids(out) == list(range(TABLES * ROWS))
    assert not list(tables.parent.glob("*.partial"))


@pytest.mark.usefixtures("cluster")
def test_more_workers_than_fit_are_refused(bundle: Path, tables: Path) -> None:
    """Ray would wait for ever: the message has the largest number, or what is lacking."""
    from runtime.engines.ray import score
    from runtime.engines.ray.tables import score_on_ray

    too_many = EngineJob(bundle, tables, tables.parent / "a", Options(), ClusterOptions(workers=3))
    with pytest.raises(UnavailableError, match=r"3 workers do not fit.* give at most workers=2"):
        score_on_ray(too_many)
    on_gpus = EngineJob(
        bundle, tables, tables.parent / "a", Options(), ClusterOptions(num_gpus=0.5)
    )
    with pytest.raises(UnavailableError, match=r"1 worker does not fit.*0\.5 GPU.*0 GPUs: add"):
        score_on_ray(on_gpus)
    dataset = ray.from_arrow(products())
    with pytest.raises(UnavailableError, match=r"reading needs 1 CPU.*at most workers=1"):
        score(dataset, bundle, workers=2)
    drift = tables.parent / "a" / "drift.json"
    inside = EngineJob(bundle, tables, tables.parent / "a", Options(drift=drift))
    with pytest.raises(UsageError, match=r"drift\.json is in .*which an engine publishes"):
        score_on_ray(inside)
    assert list(tables.parent.iterdir()) == [tables]


@pytest.mark.parametrize("gpus", [float("nan"), float("inf"), -1.0, 1.5])
def test_shares_of_gpus_that_are_none_are_refused(gpus: float) -> None:
    """What Ray could not reserve."""
    from runtime.engines.ray.cluster import Resources

    with pytest.raises(UsageError, match="give a share of a GPU up to 1, or a whole number"):
        Resources(num_gpus=gpus)


def test_the_address_of_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes it for ``auto``, and would try for many minutes."""
    from runtime.engines.ray.cluster import connected

    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(UsageError, match=r'address="ray://head:10001" is that of'):
        connected("auto").__enter__()


def test_blocks_become_files_of_one_schema(tmp_path: Path) -> None:
    """A column without a value in one block has the type of the others; else nothing is written."""
    from runtime.engines.ray import AtomicParquet

    def write(*tasks: list[pa.Table]) -> list[pa.Table]:
        sink, out = AtomicParquet(tmp_path / "out"), tmp_path / "out"
        try:
            done = [
                sink.write(blocks, SimpleNamespace(task_idx=number))
                for number, blocks in enumerate(tasks)
            ]
            rows = sum(block.num_rows for blocks in tasks for block in blocks)
            sink.on_write_complete(SimpleNamespace(write_returns=done, num_rows=rows))
        except DataError as exc:
            sink.on_write_failed(exc)
            assert list(tmp_path.iterdir()) == []
            raise
        found = [parquet.read_table(path) for path in sorted(out.glob("*.parquet"))]
        shutil.rmtree(out)
        return found

    nothing, text = pa.table({"id": [1], "x": pa.nulls(1)}), pa.table({"id": [2], "x": ["a"]})
    whole = [{"id": 1, "x": None}, {"id": 2, "x": "a"}]
    assert write([nothing, text])[0].to_pylist() == whole
    assert write([text, nothing])[0].to_pylist() == whole[::-1]
    assert write([nothing])[0].to_pylist() == whole[:1]
    other = pa.table({"x": ["a"], "id": [2.5]})
    with pytest.raises(DataError, match=r"blocks .* differ.*id has incompatible types"):
        write([text, other])
    with pytest.raises(DataError, match=r"blocks .* differ.*id has incompatible types"):
        write([text], [other])
    with pytest.raises(DataError, match=r"some lack the column 'x'.*nothing was published"):
        write([text.select(["id"]), text])


@pytest.mark.usefixtures("cluster")
def test_data_sets_are_scored_and_published_whole(bundle: Path, tmp_path: Path) -> None:
    """Lazily or into a folder: the values of a Scorer, each row once, with its summary."""
    from runtime.engines.ray import AtomicParquet, score, score_to

    table, scorer = products(), Scorer(bundle, proba=True, drift=True)
    blocks = [table.slice(start, 500) for start in range(0, ROWS, 500)]
    dataset = ray.from_arrow(blocks)
    expected, part = scorer.score(table)
    summary = score_to(dataset, scorer, tmp_path / "direct")
    assert summary.drift == scorer.summarize([part]).drift
    assert (summary.rows, summary.scored) == (ROWS, ROWS)
    assert parquet.read_table(tmp_path / "direct").sort_by("id").equals(expected)
    lazy = score(dataset, scorer)
    lazy.filter(expr="id < 700").write_datasink(AtomicParquet(tmp_path / "lazy"))
    assert parquet.read_table(tmp_path / "lazy").sort_by("id").equals(expected[:700])
    with pytest.raises(UsageError, match="holds files"):
        score_to(dataset, scorer, tmp_path / "lazy")
    bad = ray.from_arrow(table.set_column(1, "price", pa.nulls(ROWS, pa.float64())))
    with pytest.raises(BadRowsError, match="missing value") as caught:
        score_to(bad, scorer, tmp_path / "bad")
    assert "UDF" not in str(caught.value)
    with pytest.raises(Exception, match="missing value") as raised:
        score(bad, scorer).materialize()
    assert exit_code_of(raised.value) == 3
    assert type(find_error(raised.value)) is BadRowsError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["direct", "lazy"]


@pytest.mark.usefixtures("cluster")
def test_the_page_runs(
    bundle: Path, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of docs/engines.md."""
    page = (checkout / "docs" / "engines.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python score_ray\.py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    table = tmp_path / "products.parquet"  # the cluster was started in another folder
    program = program.replace("products.parquet", str(table))
    parquet.write_table(products(), table)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "score_ray.py", "exec"), {})  # noqa: S102 - our own page
    assert len(parquet.read_table("scored")) == ROWS
    assert set(parquet.read_table("popular")["label"].to_pylist()) == {"yes"}

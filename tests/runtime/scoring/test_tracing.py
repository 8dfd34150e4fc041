"""The span of a run, received by a collector over OTLP or by the tracer of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason='pip install "onnxferry[otel]" installs the SDK')
from collector import Collector, collecting

from runtime.errors import BadRowsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runtime.predictor import Predictor

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TABLE = "price,rating,note\n7.5,3,k3y\nseven,3,k3y\n2,1.5,k3y\n"
STAGES = {"read", "parse", "model", "format", "write", "monitor"}
# A run in a process that has set a tracer of its own, and runs another one in a child.
PROGRAM = """
import json, os, sys
import opentelemetry.trace as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from runtime import Predictor

kept = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(kept))
api.set_tracer_provider(provider)
predictor = Predictor(sys.argv[1], provider="cpu")
with provider.get_tracer("caller").start_as_current_span("night"):
    predictor.score_file("in.csv", "out.csv", bad_rows="null")
    try:
        predictor.score_file("in.csv", "other.csv")
    except Exception:
        pass
print(json.dumps([json.loads(span.to_json()) for span in kept.get_finished_spans()]))
"""
FORKING = """
import os, sys
from runtime import Predictor

def score(out):
    Predictor(sys.argv[1], provider="cpu").score_file("in.csv", out, bad_rows="null")

score("a.csv")
child = os.fork()
if not child:
    score("b.csv")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as collector:
        yield collector


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table."""
    (tmp_path / "in.csv").write_text(TABLE)
    return tmp_path


def _run(
    *words: object, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def _predict(
    bundle: Path, folder: Path, environment: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    fixed = ("-m", "runtime", "predict", "--provider", "cpu", "--bundle", bundle)
    files = ("--file", "in.csv", "--out", "out.csv")
    return _run(*fixed, *files, *words, folder=folder, environment=environment)


def test_predict_is_one_span(
    collector: Collector, bundle: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    """Rows, bad ones, blocks and the time of each stage, in the trace of whoever started it."""
    caller = {"TRACEPARENT": f"00-{TRACE}-{CALLER}-01"}
    asking = {**environment, **collector.variables, **caller}
    done = _predict(bundle, folder, asking, "--bad-rows", "null")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    (span,) = collector.spans
    assert (span.name, span.trace_id, span.parent_id) == ("predict", TRACE, CALLER)
    assert not span.is_error
    counts = {"onnxferry.rows": 3, "onnxferry.rows.scored": 2, "onnxferry.rows.bad": 1}
    assert span.attributes.items() >= {**counts, "onnxferry.blocks": 1}.items()
    assert span.attributes["onnxferry.model.name"] == "simplenet"
    stages = {
        name.rpartition(".")[2]: value
        for name, value in span.attributes.items()
        if name.startswith("onnxferry.stage.")
    }
    assert stages.keys() == STAGES
    assert sum(float(str(value)) for value in stages.values()) < (span.end - span.start) / 1e9 * 2
    assert "k3y" not in repr(span)
    assert "in.csv" not in repr(span)


def test_a_failed_run_is_an_error_without_its_text(
    collector: Collector, predictor: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of bad rows quotes cells: the span has the class of the error alone."""
    for name, value in collector.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadRowsError, match="seven"):
        predictor.score_file(folder / "in.csv", folder / "out.csv")
    (span,) = collector.spans
    assert span.is_error
    assert (span.message, span.attributes["error.type"]) == ("", "BadRowsError")
    assert "seven" not in repr(span)


def test_what_is_not_delivered_is_a_warning(
    collector: Collector,
    bundle: Path,
    predictor: Predictor,
    folder: Path,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The output is whole, the exit code 0: the command prints it, in Python it is a warning."""
    collector.status = 401
    done = _predict(bundle, folder, {**environment, **collector.variables}, "--bad-rows", "null")
    assert done.returncode == 0
    assert len((folder / "out.csv").read_text().splitlines()) == 4
    where = f"http://127.0.0.1:{collector.port}/v1/traces"
    line = f"warning: the trace of this run was not delivered: {where}: HTTP 401 Unauthorized"
    assert line in done.stderr.splitlines()
    for name, value in collector.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(RuntimeWarning, match="HTTP 401"):
        predictor.score_file(folder / "in.csv", folder / "b.csv", bad_rows="null")


def test_a_variable_that_cannot_be_honoured_is_refused(
    bundle: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    """Nothing is scored before."""
    done = _predict(bundle, folder, {**environment, "OTEL_TRACES_EXPORTER": "console"})
    assert done.returncode == 2
    assert "OTEL_TRACES_EXPORTER is 'console'" in done.stderr
    assert not (folder / "out.csv").exists()


def test_a_process_with_a_tracer_of_its_own(
    bundle: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    """In Python a run is a span of the process's own provider, below its current span."""
    done = _run("-c", PROGRAM, bundle, folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    spans: list[dict[str, Any]] = json.loads(done.stdout)
    whole, failed, night = spans
    assert {span["parent_id"] for span in (whole, failed)} == {night["context"]["span_id"]}
    assert whole["attributes"]["onnxferry.rows.bad"] == 1
    assert (whole["status"], failed["status"]) == (
        {"status_code": "UNSET"},
        {"status_code": "ERROR"},
    )
    assert failed["attributes"]["error.type"] == "BadRowsError"
    assert "seven" not in done.stdout


def test_a_forked_process_sends_its_own(
    collector: Collector, bundle: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    """Nothing of the parent's sending is inherited, and nothing is sent twice."""
    asking = {**environment, **collector.variables}
    done = _run("-c", FORKING, bundle, folder=folder, environment=asking)
    assert done.returncode == 0, done.stderr
    pids = [span.resource["process.pid"] for span in collector.spans]
    assert len(pids) == len(set(pids)) == 2

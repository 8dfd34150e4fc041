from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirty_inputs import CATALOGUE
from dirty_inputs.answers import Outcome, complain, out_name, policies_of, read_answers
from typer.testing import CliRunner

from runtime.cli.app import app
from runtime.errors import EXIT_BUG, OnnxferryError
from runtime.predictor import Predictor

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from dirty_inputs.dirty_input import DirtyInput

    from runtime.choices import BadRows

_TABLES = [
    pytest.param(dirty, policy, id=f"{dirty.kind}: {dirty.name}, {policy}")
    for dirty in CATALOGUE
    for policy in policies_of(dirty)
]


@pytest.fixture
def opened(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """The bundle, opened once for all commands; opening it has tests of its own."""
    monkeypatch.setattr(
        Predictor, "__init__", lambda opened, *_, **__: opened.__dict__.update(vars(predictor))
    )
    return predictor


def run(dirty: DirtyInput, policy: BadRows, folder: Path) -> Outcome:
    """Run the command in this process, its input and output in ``folder``."""
    out = folder / out_name(dirty)
    words = ["predict", "--file", dirty.write(folder), "--out", out, "--json", *dirty.options]
    words += [] if "--bad-rows" in dirty.options else ["--bad-rows", policy]
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, OnnxferryError):
        error = done.exception
        return Outcome(error.exit_code, str(error), answers=read_answers(out))
    if done.exit_code == EXIT_BUG and done.exception:
        raise done.exception
    if done.exit_code:
        return Outcome(done.exit_code, done.stderr)
    values = json.loads(done.stdout)
    prefix = "new_" if "--prefix" in dirty.options else ""
    return Outcome(0, "", values["rows"], values["reasons"], read_answers(out, prefix))


def test_the_catalogue_holds_different_inputs() -> None:
    """At least three hundred, each with a name of its own."""
    assert len({dirty.name for dirty in CATALOGUE}) == len(CATALOGUE) >= 300


@pytest.mark.parametrize(("dirty", "policy"), _TABLES)
def test_nothing_dirty_is_scored_wrongly_or_lost(
    dirty: DirtyInput, policy: BadRows, opened: Predictor, tmp_path: Path
) -> None:
    """Each row has a prediction or a reason; a damaged table has one message."""
    outcome = run(dirty, policy, tmp_path)
    assert complain(dirty, policy, outcome, opened) == []
    left = {path.name for path in tmp_path.iterdir() if "onnxferry" in path.name}
    assert not left


def test_a_failed_table_on_a_stream_has_no_end(
    run_command: Callable[..., subprocess.CompletedProcess[bytes]], bundle: Path, tmp_path: Path
) -> None:
    """A partial Parquet output on stdout is not valid; no traceback."""
    table = pa.table({"price": [1.0, None], "rating": [1.0, 1.0]})
    pq.write_table(table, tmp_path / "in.parquet")
    words = ("predict", "--bundle", bundle, "--file", "in.parquet", "--out-format")
    for kind, read in (("parquet", pq.ParquetFile), ("arrow", pa.ipc.open_file)):
        done = run_command(*words, kind)
        assert done.returncode == 3
        assert b"Traceback" not in done.stderr
        with pytest.raises(pa.ArrowInvalid):
            read(pa.BufferReader(done.stdout))

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from forked import PATIENCE_S, Forked
from terminals import read_all
from typer.testing import CliRunner

from exporter.bundling import convert_candidate
from exporter.cli import app, next_step
from exporter.parity import rows as parity_rows
from exporter.source.candidate import candidate_from_run
from exporter.terminal import progress_bar
from runtime.bundle.manifest import ONNX_MODEL, TORCHSCRIPT_MODEL
from runtime.schema.features import Feature, Schema
from trainer.run import load_run, save_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.formats.model_files import ModelFiles
    from exporter.parity.rows import Plan
    from trainer.run import Run

pytestmark = pytest.mark.slow

KEYS = {
    "tolerance",
    "passed",
    "bundle",
    "worst_error_over_bound",
    "undecidable",
    "undecidable_on_boundaries",
    "contenders",
    "batches",
    "rows",
    "seconds",
}
VERSION = re.compile(
    r"simplenet [0-9a-f]{12}: golden\.npz, model\.onnx, .*, parity\.json, report\.html"
)
PROVEN = re.compile(
    r"proven: eager, torchscript, program, numpy, onnx-cpu \(8 settings\)"
    r"(, onnx-cuda \(8 settings\))? "
    r"in batches of 0, 1, 2, 3, 7, 31, 32, 33, 1024, 4095, 4096, 65537, "
    r"up to [\d,]+ rows each; worst error 0\.\d+ of its bound, "
    r"[\d,]+ rows undecidable \(two classes closer than the error bound, so either is correct; "
    r"[\d,]+ more placed there on purpose\), \d+\.\d s"
)


def exporter(
    *arguments: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_users_in_two_folders_get_the_same_bytes(
    run_folder: Path, run: Run, files: ModelFiles, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Two processes, folders, homes, users and thread counts: one bundle, byte for byte."""
    results = []
    for user, threads, options in (("ada", "1", ["--out", "mine"]), ("grace", "2", ["--json"])):
        folder = tmp_path / user / "here"
        folder.mkdir(parents=True)
        theirs = {
            "HOME": str(tmp_path / user),
            "USER": user,
            "LOGNAME": user,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONHASHSEED": threads,
        }
        if "mine" in options:  # what was there before
            (folder / "mine").mkdir()
            for name in ("manifest.json", "model.sig"):
                (folder / "mine" / name).touch()
        done = exporter(
            *("export", "--run", str(run_folder), *options),
            folder=folder,
            environment={**environment, **theirs},
        )
        assert done.returncode == 0, done.stderr
        results.append((done, folder))
    (spoken, ada), (counted, grace) = results
    ours, other = ada / "mine", grace / "artifacts" / "bundle"
    assert (ours / ONNX_MODEL).read_bytes() == files.onnx
    names = sorted(file.name for file in ours.iterdir())
    assert names == sorted(file.name for file in other.iterdir())
    for name in names:
        assert (ours / name).read_bytes() == (other / name).read_bytes(), name
        for word in (b"grace", str(tmp_path).encode()):
            assert word not in (other / name).read_bytes()
    # This process has traced other modules before; a fresh one has not.
    assert (ours / TORCHSCRIPT_MODEL).read_bytes() == convert_candidate(
        candidate_from_run(run)
    ).torchscript
    check_talk(spoken)
    check_json(counted)


def check_talk(done: subprocess.CompletedProcess[str]) -> None:
    """The bundle's path is on stdout; files, proof and next command are on stderr."""
    assert done.stdout == "mine\n"
    made, proven, unsigned, following = done.stderr.splitlines()
    assert unsigned == "the bundle that was replaced was signed, this one is not: see exporter sign"
    assert VERSION.fullmatch(made)
    assert PROVEN.fullmatch(proven)
    assert following == "next: runtime predict --file products.csv --bundle mine"


def check_json(done: subprocess.CompletedProcess[str]) -> None:
    """Stdout is one JSON object with the documented keys, stderr is silent."""
    output = json.loads(done.stdout)
    assert output.keys() == KEYS
    assert (output["passed"], output["bundle"]) == (True, "artifacts/bundle")
    assert output["contenders"][:4] == ["eager", "torchscript", "program", "numpy"]
    assert done.stderr == ""


def test_verify_speaks_and_counts(
    bundle: Path, quick: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of text, or one JSON object with --json, on a million rows."""
    part = ["--contender", "numpy", "--batch", "65537"]
    counted = CliRunner().invoke(app, ["verify", str(bundle), "--json", *part])
    assert json.loads(counted.stdout).keys() == KEYS
    assert json.loads(counted.stdout)["rows"] > 1_020_000
    monkeypatch.setattr(parity_rows, "FULL", quick)
    spoken = CliRunner().invoke(app, ["verify", str(bundle)])
    assert spoken.exit_code == 0
    assert re.fullmatch(re.escape(f"{bundle}: ") + PROVEN.pattern + "\n", spoken.stdout)


def test_failures_end_with_their_exit_codes(
    run_folder: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """No run 4, a model of NaN 5, a folder that is not ours 2: one line each, no traceback."""
    run = load_run(run_folder)
    with torch.no_grad():
        run.model.linear_layers()[0].bias[0] = float("nan")
    (tmp_path / "diverged").mkdir()
    save_run(tmp_path / "diverged", run)
    (tmp_path / "thesis.tex").write_text("years")
    for arguments, code, words in (
        (["export", "--run", "nowhere"], 4, "run.json"),
        (["export", "--run", "diverged"], 5, "NaN or infinite"),
        (["export", "--run", str(run_folder), "--out", "."], 2, "is not replaced"),
        (["verify", "diverged"], 4, "is not a bundle"),
    ):
        with Forked("exporter", *arguments, folder=tmp_path, environment=environment) as command:
            done = command.wait(PATIENCE_S)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("exporter: error: ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diverged", "thesis.tex"]


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["verify", "--help"], []])
def test_help_needs_no_torch(
    arguments: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    """Help comes at once, also where the training extra is missing."""
    code = (
        "import sys; sys.modules.update(torch=None, onnx=None, onnxruntime=None); "
        f"sys.argv = ['exporter', *{arguments!r}]; from exporter.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Usage: exporter" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_the_distributions() -> None:
    """All three commands are of one distribution."""
    done = CliRunner().invoke(app, ["--version"])
    assert re.fullmatch(r"onnxferry \d+\.\d+\.\d+\S*\n", done.stdout)


def test_the_next_step_of_ones_own_table_is_not_of_products() -> None:
    """The next command names products.csv only for a model of products."""
    schema = Schema("y", (Feature("price", 0, 1),), ("a", "b"))
    assert next_step(schema, Path("b c")) == "runtime predict --file FILE --bundle 'b c'"


ON_A_TERMINAL = """
from exporter.progress import Progress
from exporter.terminal import progress_bar
from runtime.terminal import process

def export(prog_name):
    with process.on_interrupt(lambda: "nothing was published"), progress_bar() as on_progress:
        on_progress(Progress("converting"))
        for done in range(1, 5):
            on_progress(Progress("proving", done, 4, "onnx-cpu-extended-1", 65537))
        print("result")
        raise KeyboardInterrupt

process.run(export, "exporter export")
"""


def test_elsewhere_than_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal only the result is written."""
    with progress_bar() as on_progress:
        assert on_progress is None
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (50, "100 %"),
        (80, "100 % 0:00:00 onnx-cpu-extended-1"),
        (120, "100 % 0:00:00 onnx-cpu-extended-1 at batch 65,537"),
    ],
)
def test_a_terminal_gets_a_bar(environment: Mapping[str, str], width: int, shown: str) -> None:
    """The bar is one line of stderr at any width, without words cut; an interrupt is explained."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": str(width)},
        check=False,
    )
    os.close(theirs)
    drawn = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", read_all(ours).decode())
    assert done.stdout == b"result\n"
    (line,) = {each.strip() for each in re.split(r"[\r\n]+", drawn) if "100 %" in each}
    assert re.sub(r"[━╸╺ ]+", " ", line) == f"proving {shown}"
    assert len(line) < width
    assert "exporter export: interrupted; nothing was published" in drawn
    assert done.returncode == 130

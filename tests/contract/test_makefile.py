"""Make's goals: what each runs, in which order, and what it does not repeat.

The three commands are replaced by scripts that log their arguments and create the file that
marks their result; the real ones run in ``tests/pipeline``.
"""

from __future__ import annotations

import os
import re
import subprocess
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Make = Callable[..., subprocess.CompletedProcess[str]]


_GOALS = {
    *("train", "export", "predict", "serve", "tensorboard"),
    *("quick", "test", "lint", "check", "coverage", "docs", "protos", "bench", "clean"),
}
_ALL = ["trainer fit", "trainer sample", "exporter export", "runtime predict"]
_COMMAND = """#!/bin/sh
echo "$(basename "$0")" "$@" >> calls
mark() { mkdir -p "$(dirname "$1")" && touch "$1"; }
case "$(basename "$0") $1" in
"trainer fit") mark artifacts/run/run.json ;;
"exporter export") mark artifacts/bundle/manifest.json ;;
esac
while [ $# -gt 0 ]; do
    [ "$1" = --out ] && mark "$2"
    shift
done
"""


@pytest.fixture
def clone(project: Path) -> Path:
    """A project folder whose environment ``env`` holds fake commands."""
    commands = project / "env" / "bin"
    commands.mkdir(parents=True)
    for name in ("trainer", "exporter", "runtime", "tensorboard"):
        script = commands / name
        script.write_text(_COMMAND)
        script.chmod(0o755)
    return project


def _calls(clone: Path) -> list[str]:
    """Commands logged since the last call, with their arguments."""
    log = clone / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def _verbs(calls: list[str]) -> list[str]:
    return [" ".join(call.split()[:2]) for call in calls]


def test_help_fits_a_screen_and_names_every_goal(make: Make, project: Path) -> None:
    """``make`` alone prints at most 24 lines of 80 characters, and does nothing."""
    before = sorted(project.iterdir())
    done = make(folder=project)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert set(re.findall(r"^ +make (\w+)", done.stdout, re.MULTILINE)) == _GOALS
    assert sorted(project.iterdir()) == before


@pytest.mark.parametrize("goals", list(permutations(["train", "export", "predict"])), ids=" ".join)
@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
def test_goals_run_once_and_in_order(
    make: Make, clone: Path, jobs: str, goals: tuple[str, ...]
) -> None:
    """Named in any order, in parallel or not, each step runs once and after what it needs."""
    done = make("VENV=env", jobs, *goals, folder=clone)
    assert done.returncode == 0, done.stderr
    verbs = _verbs(_calls(clone))
    assert sorted(verbs) == sorted(_ALL)
    assert verbs.index("trainer fit") < verbs.index("exporter export")
    assert verbs[-1] == "runtime predict"


def test_named_goals_run_again(make: Make, clone: Path) -> None:
    """A named goal trains again even where a run exists; the sample table is kept."""
    make("VENV=env", "train", "export", "predict", folder=clone)
    _calls(clone)
    make("VENV=env", "train", "export", "predict", folder=clone)
    assert _verbs(_calls(clone)) == ["trainer fit", "exporter export", "runtime predict"]


def test_predict_makes_what_it_lacks(make: Make, clone: Path) -> None:
    """``make predict`` alone works in a fresh clone, and the second time only predicts."""
    assert make("VENV=env", "predict", folder=clone).returncode == 0
    assert sorted(_verbs(_calls(clone))) == sorted(_ALL)
    assert make("VENV=env", "predict", folder=clone).returncode == 0
    assert _verbs(_calls(clone)) == ["runtime predict"]


def test_predict_follows_a_newer_run(make: Make, clone: Path) -> None:
    """A newer run makes the bundle outdated, and it is exported again."""
    make("VENV=env", "predict", folder=clone)
    os.utime(clone / "artifacts" / "bundle" / "manifest.json", (1, 1))
    _calls(clone)
    make("VENV=env", "predict", folder=clone)
    assert _verbs(_calls(clone)) == ["exporter export", "runtime predict"]


def test_serve_makes_what_it_lacks(make: Make, clone: Path) -> None:
    """``make serve`` alone works in a fresh clone; PROVIDER reaches the server."""
    assert make("VENV=env", "serve", "PROVIDER=cpu", folder=clone).returncode == 0
    calls = _calls(clone)
    assert _verbs(calls) == ["trainer fit", "exporter export", "runtime serve"]
    assert calls[-1] == "runtime serve --provider cpu"


def test_tensorboard_opens_the_run(make: Make, clone: Path) -> None:
    """``make tensorboard`` fits where there is no run, and shows the one that is there."""
    shown = "tensorboard --logdir artifacts/run"
    for expected in (["trainer fit", shown], [shown]):
        assert make("VENV=env", "tensorboard", folder=clone).returncode == 0
        assert _calls(clone) == expected


def test_own_table_is_scored_as_named(make: Make, clone: Path) -> None:
    """FILE and OUT reach the runtime unchanged, with spaces and quotes, and no sample is made."""
    make("VENV=env", "predict", "FILE=shop's own list.csv", "OUT=my answers.csv", folder=clone)
    assert _calls(clone)[-1] == "runtime predict --file shop's own list.csv --out my answers.csv"
    assert not (clone / "products.csv").exists()


def test_settings_reach_the_commands(make: Make, clone: Path) -> None:
    """DEVICE and SEED go to the training, PROVIDER to the prediction."""
    settings = ("DEVICE=cpu", "SEED=7", "PROVIDER=cuda")
    make("VENV=env", "train", "export", "predict", *settings, folder=clone)
    calls = _calls(clone)
    assert "trainer fit --device cpu --seed 7" in calls
    assert calls[-1] == "runtime predict --file products.csv --out scored.csv --provider cuda"


OWN = ("DATA=shop's own list.csv", "LABEL=is it popular?")
FIT_OWN = "trainer fit --data shop's own list.csv --label is it popular?"


def test_own_table_is_trained_on_as_named(make: Make, clone: Path) -> None:
    """DATA and LABEL reach the trainer unchanged, and the next goals use that run."""
    assert make("VENV=env", "train", *OWN, folder=clone).returncode == 0
    assert make("VENV=env", "export", "predict", "FILE=new.csv", folder=clone).returncode == 0
    predicted = "runtime predict --file new.csv --out scored.csv"
    assert _calls(clone) == [FIT_OWN, "exporter export", predicted]
    assert make("VENV=env", "predict", *OWN, folder=clone).returncode == 0
    predicted = "runtime predict --file shop's own list.csv --out scored.csv"
    assert _calls(clone) == [predicted]


@pytest.mark.parametrize("change", ["DATA=other.csv", "LABEL=other", "newer"])
def test_another_table_or_label_trains_again(make: Make, clone: Path, change: str) -> None:
    """Also a table that is newer than the run, and a run that make did not train."""
    table = clone / "shop's own list.csv"
    table.touch()
    assert make("VENV=env", "predict", *OWN, folder=clone).returncode == 0
    _calls(clone)
    os.utime(table, (2**32, 2**32) if change == "newer" else (1, 1))
    settings = OWN if change == "newer" else (*OWN, change)
    assert make("VENV=env", "predict", *settings, folder=clone).returncode == 0
    assert _verbs(_calls(clone)) == ["trainer fit", "exporter export", "runtime predict"]
    os.utime(clone / "artifacts" / "run" / "run.json", (2**32, 2**32))
    os.utime(table, (1, 1))
    assert make("VENV=env", "predict", *settings, folder=clone).returncode == 0
    assert _verbs(_calls(clone))[0] == "trainer fit"


def test_a_missing_table_is_the_trainers_message(make: Make, clone: Path) -> None:
    """Make knows no rule for it and leaves it to the trainer; nothing is marked as trained."""
    (clone / "env" / "bin" / "trainer").write_text('#!/bin/sh\necho "no $3" >&2\nexit 3\n')
    done = make("VENV=env", "train", "DATA=missing.csv", "LABEL=y", folder=clone)
    assert (done.returncode, "no missing.csv" in done.stderr) == (2, True)
    assert not (clone / "artifacts" / "run.source").exists()


@pytest.mark.parametrize("option", ["resume", "restart"])
def test_an_interrupted_training_is_resumed_or_restarted(
    make: Make, clone: Path, option: str
) -> None:
    """As asked; make itself chooses neither."""
    assert make("VENV=env", "train", f"{option.upper()}=1", folder=clone).returncode == 0
    assert _calls(clone) == [f"trainer fit --{option}"]


def test_settings_are_not_taken_from_the_shell(clone: Path, environment: Mapping[str, str]) -> None:
    """Names as common as FILE and OUT mean something else in somebody's environment."""
    shell = {**environment, "FILE": "other", "OUT": "/", "DEVICE": "tpu", "SEED": "x"}
    shell |= {"DATA": "other", "LABEL": "other", "RESUME": "1", "RESTART": "1"}
    subprocess.run(
        ["make", "VENV=env", "predict"], cwd=clone, env=shell, capture_output=True, check=True
    )
    calls = _calls(clone)
    assert "trainer fit" in calls
    assert calls[-1] == "runtime predict --file products.csv --out scored.csv"


def test_recipes_read_as_a_person_would_type_them(make: Make, clone: Path) -> None:
    """Make shows the commands themselves, so that they can be repeated without it."""
    done = make("VENV=env", "train", "export", folder=clone)
    assert done.stdout.splitlines() == ["trainer fit", "exporter export"]


def test_benchmarks_named_by_make_are_there(make: Make, clone: Path, checkout: Path) -> None:
    """``make bench`` runs every command in ``benchmarks/`` that needs no argument, on a bundle."""
    done = make("VENV=env", "-n", "bench", folder=clone)
    commands = re.findall(r"^python (benchmarks/\S+\.py)$", done.stdout, re.MULTILINE)
    texts = {
        path.relative_to(checkout).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((checkout / "benchmarks").glob("*.py"))
    }
    assert commands == [
        name
        for name, text in texts.items()
        if "__main__" in text and not re.search(r'add_argument\("\w+"(?![^)]*nargs)', text)
    ]
    assert "exporter export" in done.stdout


def test_clean_keeps_tables_and_environment(make: Make, clone: Path) -> None:
    """``make clean`` removes what can be made again; tables may be the user's own."""
    make("VENV=env", "train", "export", "predict", folder=clone)
    for package in ("runtime", "trainer", "exporter", "tests", "benchmarks"):
        (clone / package / "__pycache__").mkdir(parents=True)
    assert make("clean", folder=clone).returncode == 0
    left = {path.name for path in clone.iterdir()}
    assert {"products.csv", "scored.csv", "env", "Makefile"} <= left
    assert "artifacts" not in left
    assert not list(clone.rglob("__pycache__"))


def test_failing_command_stops_make(make: Make, clone: Path) -> None:
    """A step that fails is the last, and make fails with it."""
    (clone / "env" / "bin" / "exporter").write_text("#!/bin/sh\necho no parity >&2\nexit 5\n")
    done = make("VENV=env", "train", "export", "predict", folder=clone)
    assert done.returncode == 2
    assert "no parity" in done.stderr
    assert "Error 5" in done.stderr
    assert "runtime predict" not in _verbs(_calls(clone))


def test_a_published_folder_survives_a_failing_goal(make: Make, clone: Path) -> None:
    """A command that publishes and then fails, as before ``| head -1``, keeps what it made."""
    script = clone / "env" / "bin" / "exporter"
    script.write_text(script.read_text() + "exit 141\n")
    done = make("VENV=env", "export", folder=clone)
    assert done.returncode != 0
    assert (clone / "artifacts/bundle/manifest.json").exists()


def test_a_bundle_from_elsewhere_is_used_not_replaced(make: Make, clone: Path) -> None:
    """``make predict`` scores with a bundle that came without its run."""
    manifest = clone / "artifacts/bundle/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    assert make("VENV=env", "predict", folder=clone).returncode == 0
    assert _verbs(_calls(clone)) == ["trainer sample", "runtime predict"]
    assert make("VENV=env", "export", folder=clone).returncode == 0
    assert _verbs(_calls(clone)) == ["trainer fit", "exporter export"]

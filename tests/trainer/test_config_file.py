from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.errors import UsageError
from trainer.cli import app
from trainer.run import load_run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Trainer = Callable[..., subprocess.CompletedProcess[str]]


def test_flags_override_the_file_and_the_file_overrides_defaults(
    trainer: Trainer, tmp_path: Path
) -> None:
    """Keys may have hyphens or underscores; a TOML list is a comma-separated value."""
    (tmp_path / "run.toml").write_text(
        'epochs = 3\nbatch-size = 64\nlearning_rate = 0.05\nhidden = [8, 6]\nout = "mine"\n'
        'optimiser = "adamw"\nschedule = "step:2:0.5"\nseed = 7\n'
    )
    done = trainer("fit", "--config", "run.toml", "--epochs", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    record = load_run(tmp_path / "mine").record
    assert (record.hidden, record.seed) == ((8, 6), 7)
    assert record.configuration == {
        "preset": "default",
        "standardise": True,
        "bins": 0,
        "device": "cpu",
        "epochs": 2,
        "batch_size": 64,
        "learning_rate": 0.05,
        "schedule": "step:2:0.5",
        "optimiser": "adamw",
        "weight_decay": 0.0,
        "class_weights": "none",
        "members": 1,
        "folds": 0,
        "validation": 0.0,
        "calibrate": False,
        "patience": None,
    }


def test_a_list_holds_names_with_commas_and_quotes(trainer: Trainer, tmp_path: Path) -> None:
    """Names in a TOML list need no quotes of their own."""
    header = '"a, b","c ""d""",e,f'
    rows = [f"{at % 7},{at % 5},{at % 3},{'xy'[at % 2]}" for at in range(40)]
    (tmp_path / "table.csv").write_text("\n".join([header, *rows, ""]))
    (tmp_path / "run.toml").write_text(
        'data = "table.csv"\nlabel = "f"\nfeatures = ["a, b", \'c "d"\']\n'
        'epochs = 1\nout = "mine"\n'
    )
    done = trainer("fit", "--config", "run.toml", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert load_run(tmp_path / "mine").record.schema.feature_names == ("a, b", 'c "d"')


@pytest.mark.parametrize("formats", ['"day=%b %d, %Y"', '["till=dmy", "day=%b %d, %Y"]'])
def test_options_of_tables_are_those_of_the_command(
    trainer: Trainer, tmp_path: Path, formats: str
) -> None:
    """Switches, lists, and a format with a comma, which is one value of a repeatable option."""
    cells = [(f"Mar {at % 9 + 1}, 2024", f"2.{at % 9 + 1}.2024", "yY"[at % 2]) for at in range(40)]
    rows = [f"{day};{till};{c};{at % 2}\n" for at, (day, till, c) in enumerate(cells)]
    (tmp_path / "table.csv").write_text("day;till;c;f\n" + "".join(rows) + "NA;NA;q;\n")
    (tmp_path / "run.toml").write_text(
        f'data = "table.csv"\nlabel = "f"\ndate_format = {formats}\nmissing = ["NA", "a,b"]\n'
        'fold_categories = true\nrare = "other"\nmax_categories = 9\nbad_rows = "reject"\n'
        'rejects = "bad.csv"\nepochs = 1\nout = "mine"\n'
        + ("" if "till" in formats else 'exclude = ["till"]\n')
    )
    done = trainer("fit", "--config", "run.toml", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    record = load_run(tmp_path / "mine").record
    features = {feature.name: feature for feature in record.schema.features}
    assert features["day"].date_format == "%b %d, %Y"
    assert (features["c"].categories, features["c"].is_folded) == (("y",), True)
    assert features["c"].texts_of_missing == ("NA", "a,b")
    assert record.configuration["missing"] == 'NA,"a,b"'
    assert record.configuration["max_categories"] == 9
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"there is no option 'epoch'; did you mean 'epochs'\?"),
        ("optimizer = 'sgd'", r"there is no option 'optimizer'; did you mean 'optimiser'\?"),
        ("xyz = 3", "there is no option 'xyz'; there are bad-rows, "),
        ("config = 'a'", "config is for the command line: give --config there"),
        ("tune = 20", "tune is for the command line: give --tune there"),
        ("[fit]\nepochs = 3", "there is no option 'fit'"),
        ("epochs = 2.5", "epochs: '2.5' is not a valid int"),
        ("epochs = [[1]]", "epochs must be one value or a list"),
        ("preset = 'fast'", "preset: 'fast' is not one of 'default', 'accurate', 'tutorial'"),
        ("epochs = +", "is not valid TOML: .*line 1"),
        ("validation = 2", "validation must be a share"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message has the file, the key and, if it is unknown, the closest one."""
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, ["fit", "--config", str(path)], catch_exceptions=False)


def test_an_unreadable_file_is_refused_by_name() -> None:
    """Missing, or a folder."""
    for path in ("missing.toml", "/"):
        with pytest.raises(UsageError, match=f"cannot read {path}"):
            CliRunner().invoke(app, ["fit", "--config", path], catch_exceptions=False)

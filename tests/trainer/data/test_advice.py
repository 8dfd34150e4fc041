"""What a message of ``trainer fit`` advises works when it is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from runtime.errors import OnnxferryError
from trainer.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fit = Callable[[str, str, str], tuple[bool, str]]

ROWS = range(40)
PLAIN = "a,colour,y\n" + "".join(
    f"{row * 37 % 11},{'red' if row % 3 else 'blue'},{'no' if row % 7 < 3 else 'yes'}\n"
    for row in ROWS
)
GREEN = PLAIN.replace("red", "grün")
GREEN_LABEL = PLAIN.replace("yes", "für")
JSON = "".join(f'{{"a":{row * 7 % 11},"y":"{row % 2}"}}\n' for row in ROWS)
MANY = "n,x,y\n" + "".join(f"t{row},{row * 7 % 11},{row % 2}\n" for row in range(600))
CITIES = "n,x,y\n" + "".join(f"t{row % 300},{row * 7 % 11},{row % 7 % 2}\n" for row in range(600))
MANY_NUMBERS = "n,x,y\n" + "".join(f"{row},{row * 7 % 11},{row % 2}\n" for row in range(600))
COMMAS = "p;x;y\n" + "".join(f"{row},5;{row * 7 % 11};{row % 2}\n" for row in range(400))
SHORT_COMMAS = "p;x;y\n" + "".join(f"{row % 5},5;{row * 7 % 11};{row % 2}\n" for row in ROWS)
NANS = "x,y\n" + "".join(f"{row * 7 % 11},{('0', '1', 'nan')[row % 3]}\n" for row in ROWS)
GAPS = "x,z,y\n" + "".join(f"{'' if row else 5},{row * 7 % 5},{row % 2}\n" for row in ROWS)
IDENTIFIER = "key,x,y\n" + "".join(f"{row},{row * 7 % 5},{row % 2}\n" for row in ROWS)
LEAK = "x,late,y\n" + "".join(f"{row * 7 % 5},{row % 2}9,{row % 2}\n" for row in ROWS)

CASES = [
    (PLAIN, "t.csv", "--label Y", "did you mean 'y'?", "--label y"),
    (PLAIN, "t.csv", "--label y --exclude colours", "mean 'colour'?", "--exclude colour"),
    (PLAIN, "t.csv", "--label y --delimiter ;", "give --delimiter ,", "--delimiter ,"),
    (
        PLAIN,
        "t.csv",
        "--label y --members 1 --patience 2",
        "add --validation, e.g. 0.1",
        "--validation 0.1",
    ),
    (PLAIN, "t.csv", "--label y --hidden 99999,99999", "use narrower layers", "--hidden 64"),
    (
        PLAIN,
        "t.csv",
        "--label y --learning-rate 1e30",
        "lower --learning-rate",
        "--learning-rate 1",
    ),
    (
        PLAIN,
        "t.csv",
        "--label y --weight-decay 1e30",
        "lower --weight-decay",
        "--weight-decay 1",
    ),
    (
        PLAIN,
        "t.csv",
        "--label y --features a --categories colour",
        "--features",
        "--features a,colour",
    ),
    (
        PLAIN,
        "t.csv",
        "--label y --exclude a --categories a",
        "out of --exclude",
        "--exclude colour",
    ),
    (PLAIN, "t.csv", "--label y --rejects r.csv", "--bad-rows reject", "--bad-rows reject"),
    (PLAIN, "t.csv", "--exclude a", "add --label", "--label y"),
    (PLAIN, "t.xyz", "--label y", "name its format with --format: csv", "--format csv"),
    (PLAIN, "t.csv.gz", "--label y", "give --format csv", "--format csv"),
    (PLAIN, "t.parquet", "--label y", "give --format csv", "--format csv"),
    (JSON, "t.csv", "--label y", "give --format jsonl", "--format jsonl"),
    (GREEN, "t.csv", "--label y", "such as --encoding cp1252", "--encoding cp1252"),
    (GREEN_LABEL, "t.csv", "--label y", "such as --encoding cp1252", "--encoding cp1252"),
    (PLAIN.replace("a,", "ä,", 1), "t.csv", "--label y", "--encoding cp1252", "--encoding cp1252"),
    (PLAIN + "7,grün,no\n", "t.csv", "--label y", "--bad-rows reject", "--bad-rows reject"),
    (PLAIN + "7,red,nö\n", "t.csv", "--label y", "--bad-rows reject", "--bad-rows reject"),
    (PLAIN + "x,red,no\n", "t.csv", "--label y", "--bad-rows reject", "--bad-rows reject"),
    (PLAIN + "7,red\n", "t.csv", "--label y", "--bad-rows reject", "--bad-rows reject"),
    (NANS, "t.csv", "--label y", "with --bad-rows reject", "--bad-rows reject"),
    (MANY, "t.csv", "--label y", "with --exclude n,", "--exclude n"),
    (MANY, "t.csv", "--label y", "with --rare other", "--rare other"),
    (CITIES, "t.csv", "--label y", "them with --max-categories 300,", "--max-categories 300"),
    (CITIES, "t.csv", "--label y --max-categories 2000", "2 to 1,024", "--max-categories 1024"),
    (MANY, "t.csv", "--label y --rare other --unseen error", "leave out", "--unseen other"),
    (MANY, "t.csv", "--label y --features n,x", "take it out of --features", "--features x"),
    (MANY_NUMBERS, "t.csv", "--label y --categories n", "out of --categories", "--categories x"),
    (COMMAS, "t.csv", "--label y", "give --decimal ,", "--decimal ,"),
    (SHORT_COMMAS, "t.csv", "--label y", "with --categories", "--categories p"),
    (GAPS, "t.csv", "--label y", "with --exclude x", "--exclude x"),
    (GAPS, "t.csv", "--label y --features z,x", "out of --features", "--features z"),
    (IDENTIFIER, "t.csv", "--label y", "with --exclude key", "--exclude key"),
    (IDENTIFIER, "t.csv", "--label y --features x,key", "out of --features", "--features x"),
    (LEAK, "t.csv", "--label y", "with --exclude late", "--exclude late"),
]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """``fit(table, name, options)``: whether the command succeeds, and what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(content: str, name: str, options: str) -> tuple[bool, str]:
        (tmp_path / name).write_bytes(content.encode("cp1252"))
        common = ["--data", name, "--epochs", "1", "--device", "cpu", "--out", "r"]
        done = CliRunner().invoke(app, ["fit", *common, *options.split()])
        error = done.exception
        assert error is None or isinstance(error, OnnxferryError), done.exc_info
        return error is None, f"{done.stderr}{error or ''}"

    return run


def follow(options: str, advised: str) -> str:
    """Add an advised option, or replace its value."""
    words = f"{options} {advised}".split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    return " ".join(f"{name} {value}" for name, value in values.items())


@pytest.mark.parametrize(("content", "name", "options", "advice", "advised"), CASES)
def test_advice_works(
    fit: Fit, content: str, name: str, options: str, advice: str, advised: str
) -> None:
    """The message has the advice; with it the command succeeds, and does not advise it again."""
    _, message = fit(content, name, options)
    assert advice in message
    succeeded, message = fit(content, name, follow(options, advised))
    assert succeeded, message
    assert advice not in message


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (MANY, "--label y --exclude x"),
        (IDENTIFIER, "--label y --exclude x"),
        (LEAK, "--label y --features late"),
        ("x,y\n" + "?,a\n1,b\n" * 9 + "?,a\n", "--label y --categories x"),
    ],
)
def test_the_last_feature_is_never_advised_to_be_excluded(
    fit: Fit, content: str, options: str
) -> None:
    """Without it there is nothing to learn from."""
    _, message = fit(content, "t.csv", options)
    assert "exclude it" not in message
    assert "take it out" not in message


def test_rejecting_is_not_advised_to_who_rejects(fit: Fit) -> None:
    """Where every row has a text in another encoding."""
    content = "colour,a,y\n" + "".join(f"grün{row % 3},{row * 7 % 11},{row % 2}\n" for row in ROWS)
    succeeded, message = fit(content, "t.csv", "--label y --bad-rows reject")
    assert not succeeded
    assert "which is not UTF-8: give its encoding, such as --encoding cp1252" in message
    assert "leaves them out" not in message


@pytest.mark.parametrize("option", ["--features", "--categories"])
def test_the_label_is_not_suggested_as_a_feature(fit: Fit, option: str) -> None:
    """A misspelt feature is not the label."""
    _, message = fit(PLAIN.replace("y\n", "target\n", 1), "t.csv", f"--label target {option} targe")
    assert "there is no column 'targe'; it has 'a', 'colour'" in message


def test_the_test_set_has_no_loose_header(fit: Fit, tmp_path: Path) -> None:
    """Only ``runtime predict`` ignores case and blanks."""
    (tmp_path / "test.csv").write_text(PLAIN.replace("a,colour", "A ,colour", 1))
    _, message = fit(PLAIN, "t.csv", "--label y --test test.csv")
    assert message == "test.csv: column 'a' is missing; did you mean 'A '?"


@pytest.mark.parametrize("option", ["--encoding cp1252", "--delimiter ;"])
def test_an_option_for_text_is_refused_for_parquet(fit: Fit, tmp_path: Path, option: str) -> None:
    """It would be ignored; with a test set of text it is not."""
    parquet.write_table(pa.table({"x": list(ROWS), "y": ["a", "b"] * 20}), tmp_path / "t.parquet")
    (tmp_path / "test.csv").write_text("x;y\n1;a\n2;b\n")
    data = f"--data t.parquet --label y {option}"
    _, message = fit("", "unused.csv", data)
    assert "the data is parquet: leave it out" in message
    succeeded, message = fit("", "unused.csv", f"{data} --test test.csv")
    assert succeeded, message

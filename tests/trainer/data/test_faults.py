"""All faults of a table come in one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import BadRowsError, DataError, SchemaError
from runtime.tables.options import parse_read_options
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.choices import Decimal

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

FAULTY: dict[str, list[Any]] = {
    "mail": [f"a{at}@example.org" for at in range(300)],
    "note": [f"t{at}" for at in range(300)],
    "size": ["x", *(at * 7 % 50 for at in range(299))],
    "": list(range(300)),
    "one": [1] * 300,
    "kind": ["web", "shop", "shop", "web", "web"] * 60,
    "y": ["NA", "NA", "b", *["a", "b"] * 148, "a"],
}


def refusal(source: TableSource) -> DataError:
    """The error of a table that is refused."""
    with pytest.raises(DataError) as found:
        read_dataset(source, seed=1)
    return found.value


def test_one_message_has_all_faults(save: Save) -> None:
    """Columns, label and rows, with one option for all columns, and what would be found next."""
    path = save("t.csv", FAULTY)
    message = str(refusal(TableSource(path, "y")))
    first, *lines = message.splitlines()
    assert first == f"{path}: 5 faults; nothing was fitted"
    assert [line for line in lines if line[:2] in {"1.", "2.", "3.", "4.", "5."}] == [
        (
            "1. column 4 has no name: exclude by position with --exclude '#4' (pandas writes row "
            "numbers so), or add a name in the header"
        ),
        (
            "2. label 'y' is 'NA' in 2 rows: if they have no label, give --missing NA; if "
            "that is a class, give --categories y"
        ),
        "3. 1 column looks like quantities, dates or identifiers, not like categories",
        (
            "4. 'note' has more than 256 distinct texts, too many for categories: exclude it with "
            "--exclude note, or keep the most frequent with --rare other, or merge values that "
            "belong together"
        ),
        "5. 1 of 300 rows cannot be fitted",
    ]
    assert "     record 1 (line 2), column 'size': 'x': not a number" in lines
    assert message.endswith(
        "columns '#4', 'mail', 'note' are at fault: fix, or exclude them with --exclude "
        "'#4,mail,note'\nalso found:\n  'one': constant in float32, nothing to learn"
    )


def test_following_all_advice_at_once_works(save: Save) -> None:
    """The next run has no fault."""
    source = TableSource(
        save("t.csv", FAULTY),
        "y",
        exclude=("#4", "mail", "note"),
        missing=("NA",),
        bad_rows="reject",
    )
    assert read_dataset(source, seed=1).schema.feature_names == ("size", "one", "kind")


def test_one_option_has_all_words_for_missing(save: Save) -> None:
    """Those of the label, of cells and those given already; followed, there is no fault."""
    numbers = [*map(str, range(80))]
    columns: Columns = {"x": ["-", *numbers], "z": ["?", *numbers], "y": ["NA", *["a", "b"] * 40]}
    path = save("t.csv", columns)
    given = TableSource(path, "y", missing=("?",))
    advice = "if all of these mean missing, give --missing -,?,NA"
    assert advice.replace("-,?,NA", "'-,?,NA'") in str(refusal(given)).splitlines()
    follows = TableSource(path, "y", missing=("-", "?", "NA"), bad_rows="reject")
    assert len(read_dataset(follows, seed=1).rows.train_labels) == 64


def test_all_misnamed_columns_are_named(save: Save) -> None:
    """Of every option, with what each may have meant."""
    columns: Columns = {"plan": ["a", "b"] * 5, "age": [*range(10)], "y": ["a", "b"] * 5}
    path = save("t.csv", columns)
    source = TableSource(path, "Y", exclude=("plam", "#2"), categories=("agee",))
    assert str(refusal(source)).splitlines() == [
        f"{path}: --label: there is no column 'Y'; did you mean 'y'?",
        "--exclude: there is no column 'plam'; did you mean 'plan'?",
        "--categories: there is no column 'agee'; did you mean 'age'?",
    ]


def test_faults_of_columns_and_too_many_bad_rows_come_together(save: Save) -> None:
    """With rejected rows too: the passes share their faults, each told once."""
    columns = {"mail": FAULTY["mail"], "size": [*["1"] * 280, *["?"] * 20], "y": ["a", "b"] * 150}
    columns["y"] = [*["c"] * 10, *columns["y"][10:]]
    path = save("t.csv", columns)
    some = refusal(TableSource(path, "y", bad_rows="reject"))
    assert isinstance(some, SchemaError)
    assert str(some).count("looks like") == 1
    test = save("test.csv", {"size": [1, *["?"] * 9], "y": ["a", "b"] * 5})
    many = TableSource(path, "y", exclude=("mail",), test=test, bad_rows="reject")
    assert isinstance(refusal(many), BadRowsError)


def test_a_message_has_a_bounded_length(save: Save) -> None:
    """However many columns and rows are at fault."""
    columns: Columns = {f"m{at}": ["5%", "6%"] * 150 for at in range(60)}
    columns |= {f"n{at}": [f"t{row}" for row in range(300)] for at in range(60)}
    columns |= {f"s{at}": ["x", *range(299)] for at in range(60)}
    columns |= {"y": ["a", "b"] * 150}
    assert len(str(refusal(TableSource(save("t.csv", columns), "y"))).splitlines()) < 40


@pytest.mark.parametrize(
    "other",
    ["north ", " North", "NORTH", "no\u200brth", "north\u00a0", "\uff4eorth"],
)
def test_categories_in_other_spellings_are_a_finding(save: Save, other: str) -> None:
    """As labels are: blanks, case, invisible characters and width; --fold-categories joins them."""
    path = save("t.csv", {"where": ["north", other, "south"] * 10, "y": ["a", "b"] * 15})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    assert "join them with --fold-categories" in format_report(check, source)
    joined = read_dataset(TableSource(path, "y", fold_categories=True), seed=1)
    assert joined.schema.features[0].categories == ("north", "south")


@pytest.mark.parametrize("other", ["new  york", "new\u00a0york", "new \u2009york", "New York"])
def test_repeated_and_other_blanks_are_a_finding(save: Save, other: str) -> None:
    """Of categories and of labels alike."""
    path = save("t.csv", {"where": ["new york", other] * 10, "y": ["new york", other] * 10})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    assert [len(each) for each in (*check.similar_classes, *check.columns[0].similar)] == [2, 2]


def test_a_composed_letter_is_a_finding(save: Save) -> None:
    """The Unicode forms NFC and NFD look the same."""
    path = save("t.csv", {"where": ["K\u00f6ln", "Ko\u0308ln"] * 10, "y": ["a", "b"] * 10})
    check = read_dataset(TableSource(path, "y"), seed=1).check
    assert check is not None
    assert [set(group) for group in check.columns[0].similar] == [{"K\u00f6ln", "Ko\u0308ln"}]


def test_an_unlabelled_row_shows_its_text(save: Save) -> None:
    """One of those that mean a missing label; an empty cell has none."""
    path = save("t.csv", {"x": list(range(12)), "y": ["a", "b"] * 4 + ["NA", "", " - ", "NA"]})
    message = str(refusal(TableSource(path, "y", missing=("NA", "-"))))
    assert [line.partition("'y': ")[2] for line in message.splitlines() if "record" in line] == [
        "'NA': missing value",
        "'': missing value",
        "' - ': missing value",
        "'NA': missing value",
    ]


@pytest.mark.parametrize("decimal", [".", ","])
def test_mixed_decimal_signs_name_a_cell_of_each(
    table: Callable[[str], Path], decimal: Decimal
) -> None:
    """No value of --decimal reads the table, so neither is advised."""
    rows = [f"{at};{at % 9}.25;{at % 7},5;{'ab'[at % 2]}\n" for at in range(40)]
    path = table("n;points;commas;y\n" + "".join(rows))
    reading = parse_read_options(None, None, None, decimal, loose=False)
    message = str(refusal(TableSource(path, "y", reading=reading)))
    assert "--decimal" not in message
    assert (
        "the table has decimal points (line 2, column 'points': '0.25') and decimal commas "
        "(line 2, column 'commas': '0,5')"
    ) in message


def test_columns_that_are_bad_as_a_whole_are_left_out(save: Save) -> None:
    """--bad-rows reject alone is not advised; following the advice works."""
    sizes = {"huge": ["1e99"] * 32 + [5] * 8, "some": [3] * 37 + ["1e99"] * 3}
    columns: Columns = {**sizes, "x": [1, 2] * 20, "y": ["a", "b"] * 20}
    path = save("t.csv", columns)
    for bad_rows in ("fail", "reject"):
        message = str(refusal(TableSource(path, "y", bad_rows=bad_rows)))
        assert (
            "fix column 'huge', or exclude it with --exclude huge and reject the other bad rows "
            "with --bad-rows reject"
        ) in message
    read_dataset(TableSource(path, "y", exclude=("huge",), bad_rows="reject"), seed=1)

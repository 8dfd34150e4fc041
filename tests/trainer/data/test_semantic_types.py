from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import SchemaError
from trainer.data.reading import read_dataset
from trainer.data.semantic_types import detect_semantic_type
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

QUANTITIES = {
    "percentages": ["75%", "80 %", "12.5 %", "NA"],
    "amounts of money": ["$1,200", "$5", "1.234,56 €", "1e3 USD", "(€ 12)", "CHF 12.-"],
    "negative numbers in brackets": ["(12)", "12", "7"],
    "numbers with the sign behind": ["12-", "13"],
    "numbers with a unit": ["12 kg", "13.5kg", "12 Stück", "13 Stück", "14 Stück", "70 mph"],
    "times or durations": ["1h30", "3 days", "00:15:00", "12:30", "P3DT2H", "2 days 03:00:00"],
    "numbers with a comparison sign": ["<5", "7", "9"],
    "numbers in another format": ["１２", "−5", "1\u00a0234", "١٢", "8,44,494", "7.5×10^2", "7½"],
    "numbers in quotes": ["'34", '="34"', '"35"', "“36”"],
    "lengths in feet and inches": ["5'10\"", "5 ft 11 in", "5′9″"],
    "telephone numbers": ["+49 151 0744386", "(194) 555-0094", "+1 (212) 555-0199"],
    "UUIDs": ["6f9619ff-8b86-d011-b42d-00cf4fc964ff"],
    "hexadecimal identifiers": ["deadbeefdeadbeef12345678"],
    "network addresses": ["10.0.0.1", "00:1b:44:11:3a:b7"],
    "e-mail addresses": ["a@example.org", "b1@example.org"],
    "numbers": ["1", "2", "NA"],
    "ISO dates": ["2024-01-01", "soon"],
}
DATES = {
    ("dmy",): ["31.12.2024", "01.02.2024", "n/a"],
    ("dmy", "mdy"): ["01/02/2024", "3/4/2024"],
    ("ymd",): ["2024/01/31", "2024-01-31 10:00:00 UTC", "2024-01-31 10:00:00 +0000"],
    ("%b %d, %Y",): ["Jan 31, 2024", "Feb 1, 2024"],
    ("%d-%b-%y",): ["31-Jan-24"],
    ("%m/%d/%Y %I:%M %p",): ["12/31/2024 1:30 PM"],
    ("%d%b%Y",): ["31JAN2024", "01FEB2024"],
    ("%d%b%Y:%H:%M:%S",): ["31JAN2024:10:00:00"],
    ("%d/%b/%Y:%H:%M:%S %z",): ["31/Jan/2024:10:00:00 +0000"],
    ("%a %b %d %H:%M:%S %Z %Y",): ["Wed Jan 31 10:00:00 UTC 2024"],
    ("%d-%b-%y %I.%M.%S.%f %p",): ["31-JAN-24 10.00.00.000000 AM"],
    ("%Y%m%dT%H%M%S%z",): ["20240131T100000Z"],
    ("%Y年%m月%d日",): ["2024年1月31日"],
    ("%B %Y",): ["January 2024", "March 2024"],
    ("%m/%Y",): ["01/2024", "12/2024"],
    (): [
        "31. Januar 2024",
        "5. Mär 2024",
        "31 janvier 2024",
        "14 de enero de 2024",
        "Jan 14th, 2024",
        "Sat Jan 14 10:00:00 CET 2024",
        "2024-01-14 10:00:00 CET",
        "2024-01-14T10:00:00+01:00[Europe/Berlin]",
        "/Date(1673654400000)/",
        'ISODate("2024-01-14T00:00:00Z")',
        "2024-W02-6",
    ],
}
WORDS = [
    ["web", "shop", "1"],
    ["NA", "?", "yes"],
    ["18-25", "26-35", "65+"],
    ["<18", "18-65", ">65"],
    ["<0", "0<=X<200", ">=200", "no checking"],
    ["1st", "2nd", "3rd", "4th"],
    ["9th", "10th", "11th", "Bachelors"],
    ["2WD", "4WD"],
    ["C85", "E46", "A1"],
    ["v1.2", "v1.3"],
    ["Q1 2024", "Q2 2024"],
    ["1/2", "3/4"],
    ["S", "M", "L", "XL"],
    ["1,5", "2,5", "red", "blue", "green"],
    ["iPhone 12", "Mars 2 go", "May", "Jan"],
    ["1920x1080", "1280x720"],
    ["(34, 44]", "(44, 54]"],
]


@pytest.mark.parametrize(("kind", "texts"), QUANTITIES.items(), ids=QUANTITIES)
def test_quantities_and_identifiers_are_recognised(kind: str, texts: list[str]) -> None:
    """Each notation that people meet; words for missing among them do not count."""
    found = detect_semantic_type([text.encode() for text in texts])
    assert found
    assert found.kind == kind


@pytest.mark.parametrize(("formats", "texts"), DATES.items(), ids=map(str, DATES))
def test_the_formats_of_dates_are_found(formats: tuple[str, ...], texts: list[str]) -> None:
    """Those that read most texts, two where the order of day and month is open, or none."""
    found = detect_semantic_type([text.encode() for text in texts])
    assert found
    assert (found.kind, found.date_formats) == ("dates", formats)


@pytest.mark.parametrize("texts", WORDS, ids=map(str, WORDS))
def test_words_codes_and_bins_are_categories(texts: list[str]) -> None:
    """They stay what they were."""
    assert detect_semantic_type([text.encode() for text in texts]) is None


def test_one_message_names_columns_lines_and_ways_out(save: Save) -> None:
    """Each way out works, alone or with the others."""
    columns: Columns = {
        "age": ["18", "NA", "20", "21"] * 10,
        "when": ["31.12.2023", "30.12.2023", "29.12.2023", "28.12.2023"] * 10,
        "load": ["5%", "6%", "7%", "8%"] * 10,
        "kind": ["web", "shop"] * 20,
        "y": ["a", "b"] * 20,
    }
    path = save("t.csv", columns)
    with pytest.raises(SchemaError) as refusal:
        read_dataset(TableSource(path, "y"), seed=1)
    assert str(refusal.value).replace(", for example", ":").splitlines() == [
        f"{path}: 3 columns look like quantities, dates or identifiers, not like categories",
        (
            "  column 'age' holds numbers, but also 'NA' (line 3): "
            "if it means missing, give --missing NA"
        ),
        "  column 'when' holds dates: '28.12.2023' (line 5): give --date-format when=dmy",
        "  column 'load' holds percentages: '5%' (line 2): write them as plain numbers",
        "if they are categories, declare them with --categories age,when,load",
        "to leave them out, give --exclude age,when,load",
        "also found:",
        "  'kind': alone determines the label, possible target leakage",
    ]
    declared = TableSource(path, "y", categories=("age", "when", "load"))
    assert len(read_dataset(declared, seed=1).schema.inputs) == 4 + 4 + 4 + 2
    left = TableSource(path, "y", exclude=("age", "when", "load"))
    assert read_dataset(left, seed=1).schema.feature_names == ("kind",)


def test_more_texts_than_can_be_categories_have_advice_that_works(save: Save) -> None:
    """The most frequent stay, and the others are joined."""
    columns: Columns = {
        "load": [f"{number},5" for number in range(300)],
        "y": ["a", "b"] * 150,
    }
    path = save("t.csv", columns)
    with pytest.raises(SchemaError, match="declare them with --categories load --rare other\n"):
        read_dataset(TableSource(path, "y"), seed=1)
    declared = TableSource(path, "y", categories=("load",), rare="other")
    assert read_dataset(declared, seed=1).schema.feature_names == ("load",)


def test_dates_that_no_format_reads_and_further_words_have_advice_that_works(save: Save) -> None:
    """They are named; another word for missing is advised beside those that were given."""
    columns: Columns = {
        "when": ["1. Januar 2024", "2. Januar 2024"] * 20,
        "age": ["18", "NA", "20", "#NV"] * 10,
        "y": ["a", "b"] * 20,
    }
    source = TableSource(save("t.csv", columns), "y", missing=("NA",))
    with pytest.raises(SchemaError) as refusal:
        read_dataset(source, seed=1)
    assert "(line 2): write them in ISO 8601, such as 2024-12-31" in str(refusal.value)
    assert "give --missing '#NV,NA'" in str(refusal.value)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_texts_of_every_format_are_looked_at(save: Save, ending: str) -> None:
    """Typed columns of text, too; a format without lines names the record."""
    path = save(f"t.{ending}", {"load": ["5%", "6%"] * 10, "y": ["a", "b"] * 10})
    place = "line 1" if ending == "jsonl" else "record 1"
    with pytest.raises(SchemaError, match=rf"column 'load' holds percentages.* \({place}\)"):
        read_dataset(TableSource(path, "y"), seed=1)


def test_many_dates_are_not_called_categories(save: Save) -> None:
    """More distinct texts than categories may have: still the format is named."""
    texts = [f"{at % 28 + 1:02}/{at // 28 + 1:02}/2024" for at in range(300)]
    path = save("t.csv", {"when": texts, "y": ["a", "b"] * 150})
    with pytest.raises(SchemaError, match=r"give --date-format when=dmy"):
        read_dataset(TableSource(path, "y"), seed=1)


def test_many_columns_are_cut(save: Save) -> None:
    """Ten are described; so many names would not fit into an option."""
    columns: Columns = {f"c{at}": ["5%", "6%"] * 10 for at in range(30)}
    path = save("t.csv", {**columns, "y": ["a", "b"] * 10})
    with pytest.raises(SchemaError, match=r"30 columns look .*") as refusal:
        read_dataset(TableSource(path, "y"), seed=1)
    assert "  … and 20 more" in str(refusal.value).splitlines()
    assert str(refusal.value).endswith("name the columns to use with --features")
    assert len(str(refusal.value)) < 2000

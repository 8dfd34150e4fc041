from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec import UNSET

from exporter.bundling import export
from exporter.parity.rows import Plan
from runtime.errors import SchemaError, UsageError
from runtime.predictor import Predictor
from runtime.schema.features import OneHot
from runtime.terminal.manifest import format_manifest
from trainer.config import configure
from trainer.data.dataset import RareCategories
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource
from trainer.pipeline import make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

# 'a' 8 times, 'b' 6, 'c' 4, 'd' 4 and 20 texts once each.
TEXTS = [*"aaaaaaaabbbbbbccccdddd", *(f"t{at:02}" for at in range(20))]
TABLE: Columns = {"city": TEXTS, "x": [at % 7 for at in range(42)], "y": ["no", "yes"] * 21}
ENDINGS = ("csv", "jsonl", "parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_most_frequent_categories_are_kept(save: Save, ending: str) -> None:
    """Of equally frequent ones the first by name; the others are 0 in all inputs, and counted."""
    source = TableSource(save(f"t.{ending}", TABLE), "y", rare="other", max_categories=4)
    dataset = read_dataset(source, seed=1)
    assert dataset.schema.features[0].one_hot == OneHot(("a", "b", "c"), "other", 24 - 3)
    rows = np.concatenate([dataset.rows.train_features, dataset.rows.test_features])[:, :3]
    assert rows.sum(axis=0).tolist() == [8, 6, 4]
    assert int((rows.sum(axis=1) == 0).sum()) == 24
    assert dataset.check is not None
    assert dataset.check.rare == (RareCategories("city", kept=3, joined=21, cells=24),)
    expected = "  'city': the 3 most frequent categories are kept, 21 others joined (24 cells)"
    assert expected in format_report(dataset.check, source).splitlines()
    assert dataset.options == {"test_fraction": 0.2, "rare": "other", "max_categories": 4}


def test_a_column_within_the_limit_is_encoded_as_without_the_option(save: Save) -> None:
    """Also its unseen categories remain bad cells."""
    path = save("t.csv", TABLE)
    plain = read_dataset(TableSource(path, "y"), seed=1)
    joined = read_dataset(TableSource(path, "y", rare="other", max_categories=24), seed=1)
    assert (joined.schema, joined.digest()) == (plain.schema, plain.digest())
    assert joined.check is not None
    assert joined.check.rare is UNSET


def test_missing_cells_and_booleans_are_never_rare(save: Save) -> None:
    """A missing cell is a category of its own however rare it is."""
    texts = ["a"] * 20 + ["b"] * 19 + ["c", "d", None]
    table: Columns = {"city": texts, "on": [True, False] * 21, "y": ["no", "yes"] * 21}
    source = TableSource(save("t.parquet", table), "y", rare="other", max_categories=3)
    city, on = read_dataset(source, seed=1).schema.features
    assert city.one_hot == OneHot(("", "a"), "other", 3)
    assert on.one_hot
    assert on.one_hot == OneHot(("false", "true"))


def test_the_refusal_names_the_option_and_the_limit(save: Save) -> None:
    """With the option the column is used."""
    table: Columns = {
        "city": [f"t{at}" for at in range(600)],
        "x": [at % 7 for at in range(600)],
        "y": ["no", "yes"] * 300,
    }
    path = save("t.csv", table)
    with pytest.raises(SchemaError, match=r"more than 256 .* most frequent with --rare other"):
        read_dataset(TableSource(path, "y"), seed=1)
    with pytest.raises(SchemaError, match="more than 599 distinct"):
        read_dataset(TableSource(path, "y", max_categories=599), seed=1)
    feature = read_dataset(TableSource(path, "y", rare="other"), seed=1).schema.features[0]
    assert (len(feature.categories), feature.one_hot and feature.one_hot.rare) == (255, 345)
    whole = read_dataset(TableSource(path, "y", max_categories=600), seed=1).schema.features[0]
    assert len(whole.categories) == 600


def of_texts(distinct: int, rows: int = 3000) -> list[str]:
    """A column with so many texts, each about as often."""
    return [f"t{at % distinct}" for at in range(rows)]


def many_texts(**columns: list[str]) -> Columns:
    """3,000 rows of numbers, labels and these columns."""
    return {
        **columns,
        "x": [at % 7 for at in range(3000)],
        "y": ["no", "yes", "yes"] * 1000,
    }


@pytest.mark.parametrize(
    ("texts", "options", "most"),
    [
        (of_texts(400), {}, 400),
        (["", *of_texts(400)[1:]], {}, 401),
        (of_texts(257), {}, 257),
        (of_texts(1024), {}, 1024),
        (of_texts(400), {"max_categories": 399}, 400),
        ([text.upper() if at % 3 else text for at, text in enumerate(of_texts(400))], {}, 800),
        (
            [text.upper() if at % 3 else text for at, text in enumerate(of_texts(400))],
            {"fold_categories": True},
            400,
        ),
    ],
    ids=["400", "one missing", "257", "1,024", "one too many", "two spellings", "folded"],
)
def test_a_limit_that_keeps_all_categories_is_advised(
    save: Save, texts: list[str], options: dict[str, Any], most: int
) -> None:
    """The smallest that works, when it can be chosen and categories have rows to learn from."""
    path = save("t.csv", many_texts(city=texts))
    with pytest.raises(SchemaError, match=f": keep all of them with --max-categories {most}, or"):
        read_dataset(TableSource(path, "y", **options), seed=1)
    followed = TableSource(path, "y", **{**options, "max_categories": most})
    assert len(read_dataset(followed, seed=1).schema.features[0].categories) == most
    with pytest.raises(SchemaError, match=f"--max-categories {most}"):
        read_dataset(replace(followed, max_categories=most - 1), seed=1)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("distinct", "rows"), [(1025, 3000), (400, 799), (3000, 3000)], ids=["1,025", "rare", "unique"]
)
def test_no_limit_is_advised_that_fails_or_teaches_nothing(
    save: Save, ending: str, distinct: int, rows: int
) -> None:
    """Of more categories than can be chosen, or with less than two rows each."""
    table = {name: each[:rows] for name, each in many_texts(city=of_texts(distinct)).items()}
    with pytest.raises(SchemaError, match="with --rare other") as refusal:
        read_dataset(TableSource(save(f"t.{ending}", table), "y"), seed=1)
    assert "--max-categories" not in str(refusal.value)


def test_the_limit_is_advised_for_the_columns_that_it_helps(save: Save) -> None:
    """Others are named by the next message."""
    path = save("t.csv", many_texts(a=of_texts(400), b=of_texts(600), note=of_texts(3000)))
    with pytest.raises(SchemaError, match="keep all of 'a', 'b' with --max-categories 600, or"):
        read_dataset(TableSource(path, "y"), seed=1)
    with pytest.raises(SchemaError, match="'note' has more than 600 distinct texts"):
        read_dataset(TableSource(path, "y", max_categories=600), seed=1)
    followed = TableSource(path, "y", max_categories=600, exclude=("note",))
    assert read_dataset(followed, seed=1).schema.n_inputs == 400 + 600 + 1


def test_the_limit_counts_the_rows_with_a_label(save: Save) -> None:
    """Of 3,000 rows 700 teach something, fewer than two a category."""
    table = many_texts(city=of_texts(400))
    table["y"] = [*table["y"][:700], *[""] * 2300]
    with pytest.raises(SchemaError, match="too many for categories: exclude") as refusal:
        read_dataset(TableSource(save("t.csv", table), "y", bad_rows="reject"), seed=1)
    assert "--max-categories" not in str(refusal.value)


def test_rejected_rows_do_not_count_for_the_frequency(tmp_path: Path) -> None:
    """A text of rejected rows alone is neither kept nor joined; undecodable ones are rejected."""
    path = tmp_path / "t.csv"
    lines = [f"{text},{at % 7},{'no' if at % 2 else 'yes'}" for at, text in enumerate(TEXTS)]
    bad = ["z,1,"] * 9 + ["gr\xfcn,1,no"]
    path.write_text("city,x,y\n" + "\n".join(lines + bad) + "\n", encoding="cp1252")
    source = TableSource(path, "y", rare="other", max_categories=4, bad_rows="reject")
    dataset = read_dataset(source, seed=1)
    assert dataset.schema.features[0].one_hot == OneHot(("a", "b", "c"), "other", 21)
    assert dataset.check is not None
    rejected = dataset.check.rejected or ()
    assert {each.reason: each.rows for each in rejected} == {
        "missing value": 9,
        "undecodable bytes": 1,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rare": "other", "unseen": "error"}, "leave out --unseen error"),
        ({"max_categories": 1}, "must be 2 to 1,024, got 1"),
        ({"max_categories": 2000}, "must be 2 to 1,024, got 2000"),
    ],
)
def test_options_that_cannot_hold_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """Rare texts are not stored: at scoring they cannot be told from unseen ones."""
    with pytest.raises(UsageError, match=message):
        TableSource(tmp_path / "t.csv", "y", **options)


@pytest.mark.slow
def test_rare_and_unseen_categories_are_scored_as_the_joined_ones(
    save: Save, tmp_path: Path
) -> None:
    """Proven, exported and scored: joined categories decide the label here."""
    table = {**TABLE, "y": ["yes" if text.startswith("t") else "no" for text in TEXTS]}
    source = TableSource(save("t.csv", table), "y", rare="other", max_categories=5)
    dataset = read_dataset(source, seed=1)
    make_run(tmp_path / "run", configure(epochs=200), dataset, device="cpu")
    export(tmp_path / "run", tmp_path / "bundle", plan=Plan(uniform=2048, boundary=256))
    predictor = Predictor(tmp_path / "bundle", provider="cpu")
    output = predictor.predict({"city": ["a", "t07", "new", "d"], "x": [1, 1, 1, 1]})
    assert output.label.tolist() == ["no", "yes", "yes", "no"]
    assert "categories  a, b, c, d, 20 rare ones joined; others count as none" in format_manifest(
        predictor.manifest
    )

"""How values show themselves: one line of text, and a small table in notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runtime.errors import UsageError
from runtime.predictor import Predictor
from runtime.scoring.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.schema.classes import Proba

EVIL = "<script>alert(1)</script>"


def html(value: Any) -> str:  # noqa: ANN401 - any value with a card
    """What a notebook shows."""
    shown: str = value._repr_html_()
    return shown


def test_values_are_one_line_of_text(predictor: Predictor, tmp_path: Path) -> None:
    """Model, features and classes; counts of labels; counts of rows."""
    version = predictor.manifest.model.version
    assert repr(predictor) == (
        f"Predictor(simplenet {version}: price, rating → popular (no, yes), on cpu)"
    )
    prediction = predictor.predict([[9, 4], [1, 1], [1, 2]])
    assert repr(prediction) == "Prediction(3 rows: no 2, yes 1)"
    assert repr(predictor.predict({"price": 9, "rating": 4})) == "Prediction(1 row: yes 1)"
    assert repr(predictor.predict(np.zeros((0, 2)))) == "Prediction(0 rows)"
    (tmp_path / "in.csv").write_text("price,rating,y\n9,4,yes\nx,1,no\n")
    summary = predictor.score_file(
        tmp_path / "in.csv", tmp_path / "out.csv", bad_rows="null", truth="y"
    )
    assert repr(summary).startswith(
        "Summary(1 of 2 rows scored; accuracy 100.0%; 1 bad: 1 not a number; "
    )
    assert '<td style="text-align:left">100.0% of 1 rows</td>' in html(summary)


def test_names_in_cards_are_escaped(make_bundle: Callable[..., Path]) -> None:
    """Names of features, classes and models are text, whatever they hold."""
    bundle = make_bundle(features=(EVIL, "b\n"), classes=("no", f"{EVIL}&"), name=EVIL)
    predictor = Predictor(bundle, provider="cpu")
    prediction = predictor.predict({EVIL: [1, 2], "b\n": [1, 2]})
    for value in (predictor, prediction):
        assert "<script" not in html(value)
        assert "&lt;script&gt;" in html(value)
        assert "\n" not in repr(value) + html(value)


def test_the_probability_of_a_class(predictor: Predictor) -> None:
    """That of the class, not of the label; an unknown class is an error that lists them."""
    prediction = predictor.predict([[9, 4], [1, 1]])
    yes = prediction.probability_of("yes")
    assert yes.dtype == np.float32
    assert yes.tolist() == prediction.probabilities[:, 1].tolist()
    assert (yes[0], 1 - yes[1] > 0.5) == (prediction.probability[0], True)
    with pytest.raises(UsageError, match="no class 'maybe'; the classes are 'no', 'yes'"):
        prediction.probability_of("maybe")
    of_numbers = Prediction(prediction.label, yes, prediction.probabilities, ("0", "1"))
    assert of_numbers.probability_of(1).tolist() == yes.tolist()


@pytest.mark.parametrize(
    ("proba", "names"),
    [
        ("positive", ["probability_yes"]),
        ("no", ["probability_no"]),
        ("all", ["probability_no", "probability_yes"]),
        (False, []),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_one_class_has_a_column_in_every_format(
    predictor: Predictor,
    tmp_path: Path,
    ending: str,
    proba: Proba,
    names: list[str],
) -> None:
    """The same numbers as in memory, in files of a folder, too."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "in.csv").write_text("price,rating\n9,4\n1,1\n")
    predictor.score_file(folder, out, proba=proba, out_format=ending)
    found = predictor.score_file(out, tmp_path / "again", prefix="b_", out_format="csv")
    assert (found.rows, found.proba) == (2, ())
    header, *lines = (tmp_path / "again" / "in.csv").read_text().splitlines()
    assert header.split(",")[2:-2] == ["label", "probability", *names]
    memory = predictor.predict([[9, 4], [1, 1]])
    for line, row in zip(lines, range(2), strict=True):
        shown = np.array(line.split(",")[4:-2], np.float32)
        assert shown.tolist() == [memory.probability_of(name[12:])[row] for name in names]

"""The README's first command for real: from nothing to scored products, by make alone."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.session import available_providers

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Make = Callable[..., subprocess.CompletedProcess[str]]

_THIS_ENVIRONMENT = f"VENV={Path(sys.executable).parents[1]}"


@pytest.fixture(scope="module")
def shop(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Makefile and nothing else; its name has a blank."""
    folder = tmp_path_factory.mktemp("my shop")
    shutil.copy(checkout / "Makefile", folder)
    return folder


@pytest.fixture(scope="module")
def delivered(make: Make, shop: Path) -> subprocess.CompletedProcess[str]:
    """What ``make train export predict`` said in a folder that held none of its results."""
    done = make(_THIS_ENVIRONMENT, "train", "export", "predict", folder=shop)
    assert done.returncode == 0, done.stderr
    return done


def _read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.usefixtures("delivered")
def test_every_product_gets_its_answer(shop: Path) -> None:
    """All rows come back unchanged and in order, each with a label and its probability."""
    products = _read(shop / "products.csv")
    scored = _read(shop / "scored.csv")
    assert len(products) == 1000
    answers = [(row.pop("label"), float(row.pop("probability"))) for row in scored]
    assert scored == products
    assert {label for label, _ in answers} == {"yes", "no"}
    assert all(0.5 <= probability <= 1 for _, probability in answers)


@pytest.mark.usefixtures("delivered")
def test_answers_are_nearly_all_right(shop: Path) -> None:
    """The whole path, from made-up products to written labels, computes what was learnt."""
    scored = _read(shop / "scored.csv")
    right = sum(row["label"] == row["popular"] for row in scored)
    assert right / len(scored) > 0.95


def test_head_of_the_answers_is_shown(
    delivered: subprocess.CompletedProcess[str], shop: Path
) -> None:
    """Make ends with the first rows of the scored file."""
    head = (shop / "scored.csv").read_text().splitlines()[:6]
    assert delivered.stdout.splitlines()[-6:] == head


@pytest.mark.usefixtures("delivered")
def test_own_table_is_scored_by_the_existing_bundle(make: Make, shop: Path) -> None:
    """``make predict FILE=... OUT=...`` neither trains nor exports again."""
    (shop / "my shop.csv").write_text("rating,name,price\n3.0,café,7.5\n1.5,tea,2.0\n")
    done = make(_THIS_ENVIRONMENT, "predict", "FILE=my shop.csv", "OUT=my answers.csv", folder=shop)
    assert done.returncode == 0, done.stderr
    assert "trainer" not in done.stdout
    assert "exporter" not in done.stdout
    answers = [(row["name"], row["label"]) for row in _read(shop / "my answers.csv")]
    assert answers == [("café", "yes"), ("tea", "no")]


@pytest.mark.usefixtures("delivered")
def test_missing_device_is_said_by_the_runtime(make: Make, shop: Path) -> None:
    """PROVIDER=cuda without a device fails with the runtime's reason and writes nothing."""
    if "cuda" in available_providers():
        pytest.skip("there is a CUDA device here")
    done = make(_THIS_ENVIRONMENT, "predict", "PROVIDER=cuda", "OUT=never.csv", folder=shop)
    assert done.returncode == 2
    assert "CUDA was asked for" in done.stderr
    assert "Error 6" in done.stderr
    assert not (shop / "never.csv").exists()


@pytest.mark.usefixtures("delivered")
def test_missing_table_is_said_by_the_runtime(make: Make, shop: Path) -> None:
    """A FILE that isn't there is named; nothing is made up in its place."""
    done = make(_THIS_ENVIRONMENT, "predict", "FILE=missing.csv", "OUT=never.csv", folder=shop)
    assert done.returncode == 2
    assert "missing.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shop / "never.csv").exists()

"""The README's first command: from nothing to scored products, by make alone."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lookups import WITHOUT_LOOKUPS

from runtime.session import available_providers

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Make = Callable[..., subprocess.CompletedProcess[str]]

_THIS_ENVIRONMENT = f"VENV={Path(sys.executable).parents[1]}"


def _read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# One test, so that parallel workers don't each train and export.
def test_make_trains_exports_and_predicts(make: Make, checkout: Path, tmp_path: Path) -> None:
    """In a folder with the Makefile alone, whose name has a space, and then on one's own table.

    The commands leave nothing in the home folder and look up no name.
    """
    shop = tmp_path / "my shop"
    shop.mkdir()
    shutil.copy(checkout / "Makefile", shop)
    home = tmp_path / "home"
    home.mkdir()
    fresh = (_THIS_ENVIRONMENT, f"HOME={home}", "XDG_CACHE_HOME=")
    done = make(*fresh, "train", "export", "predict", folder=shop, through=WITHOUT_LOOKUPS)
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())
    _check_predictions(shop)
    head = (shop / "scored.csv").read_text().splitlines()[:6]
    assert done.stdout.splitlines()[-6:] == head
    _check_own_table(make, shop)
    if "cuda" not in available_providers():
        _check_failure(make, shop, "PROVIDER=cuda", "CUDA", "use --provider cpu", "Error 6")
    _check_failure(make, shop, "FILE=missing.csv", "missing.csv")


def _check_predictions(shop: Path) -> None:
    """All rows come back unchanged and in order, with a label, nearly always right."""
    products = _read(shop / "products.csv")
    scored = _read(shop / "scored.csv")
    assert len(products) == 1000
    right = sum(row["label"] == row["popular"] for row in scored)
    assert right / len(scored) > 0.95
    predictions = [(row.pop("label"), float(row.pop("probability"))) for row in scored]
    assert scored == products
    assert {label for label, _ in predictions} == {"yes", "no"}
    assert all(0.5 <= probability <= 1 for _, probability in predictions)


def _check_own_table(make: Make, shop: Path) -> None:
    """``make predict FILE=... OUT=...`` neither trains nor exports again."""
    (shop / "my shop.csv").write_text("rating,name,price\n3.0,café,7.5\n1.5,tea,2.0\n")
    done = make(_THIS_ENVIRONMENT, "predict", "FILE=my shop.csv", "OUT=my scored.csv", folder=shop)
    assert done.returncode == 0, done.stderr
    assert "trainer" not in done.stdout
    assert "exporter" not in done.stdout
    labels = [(row["name"], row["label"]) for row in _read(shop / "my scored.csv")]
    assert labels == [("café", "yes"), ("tea", "no")]


def _check_failure(make: Make, shop: Path, setting: str, *messages: str) -> None:
    """The runtime's message and exit code are shown, and nothing is written."""
    done = make(_THIS_ENVIRONMENT, "predict", setting, "OUT=never.csv", folder=shop)
    assert done.returncode == 2
    assert all(message in done.stderr for message in messages), done.stderr
    assert "Traceback" not in done.stderr
    assert not (shop / "never.csv").exists()

"""The trainer's defaults on public tables, beside scikit-learn's MLPClassifier with 32 units.

    python benchmarks/public_tables.py [--splits 10] [--write]

The tables come with scikit-learn. Each is split into training and test rows several times,
stratified, and all contenders get the same rows. Ours reads them from CSV files.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.config import adapt_to_table, configure
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource
from trainer.fit import fit

TEST_SHARE = 0.3
PACKAGES = ("onnxferry", "torch", "scikit-learn", "numpy")
NOTE = "Accuracy on test rows, means over the splits, in percent."
Contenders = dict[str, list[float]]


@dataclass(frozen=True)
class Table:
    """A public table: ``(rows, columns)`` float64 and the class of each row."""

    name: str
    features: Any
    labels: Any


def tables() -> list[Table]:
    """The tables, small to large; the last four are drawn, with noise."""
    bundled = [
        Table(name, *getattr(datasets, f"load_{name}")(return_X_y=True))
        for name in ("iris", "wine", "breast_cancer", "digits")
    ]
    shapes = {
        "moons": datasets.make_moons(1000, noise=0.25, random_state=1),
        "circles": datasets.make_circles(1000, noise=0.1, factor=0.5, random_state=1),
        "hastie": datasets.make_hastie_10_2(2000, random_state=1),
        "classification": datasets.make_classification(
            2000, n_features=20, n_informative=8, n_classes=4, random_state=1
        ),
    }
    return bundled + [Table(name, *drawn) for name, drawn in shapes.items()]


def main() -> None:
    """Fit all contenders to all tables, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    lines = ["| table | rows | columns | classes | ours | MLPClassifier | the same, standardised |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [line(table, args.splits) for table in tables()]
    title = "The trainer's defaults on public tables"
    measure.report("public_tables", title, "\n".join(lines), PACKAGES, note=NOTE, write=args.write)


def line(table: Table, splits: int) -> str:
    """Fit all contenders to every split of a table."""
    found: Contenders = {"ours": [], "raw": [], "scaled": []}
    for seed in range(splits):
        contest(table, seed, found)
    means = " | ".join(f"{100 * statistics.mean(values):.1f}" for values in found.values())
    rows, columns = table.features.shape
    return f"| {table.name} | {rows:,} | {columns} | {len(set(table.labels))} | {means} |"


def contest(table: Table, seed: int, found: Contenders) -> None:
    """Fit all contenders to one split."""
    train, test, train_labels, test_labels = train_test_split(
        table.features,
        table.labels,
        test_size=TEST_SHARE,
        random_state=seed,
        stratify=table.labels,
    )
    found["ours"].append(ours(train, train_labels, test, test_labels, seed))
    network = MLPClassifier((32,), random_state=seed)
    for name, model in (
        ("raw", network),
        ("scaled", make_pipeline(StandardScaler(), MLPClassifier((32,), random_state=seed))),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # its defaults end there
            model.fit(train, train_labels)
        found[name].append(float(model.score(test, test_labels)))


def ours(train: Any, train_labels: Any, test: Any, test_labels: Any, seed: int) -> float:  # noqa: ANN401 - scikit-learn publishes no types
    """Write both parts as CSV, read them as a user's, fit with the defaults."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("train.csv", "test.csv")]
        for path, rows, labels in zip(
            paths, (train, test), (train_labels, test_labels), strict=True
        ):
            write(path, rows, labels)
        dataset = read_dataset(TableSource(paths[0], "label", test=paths[1]), seed)
    configuration = adapt_to_table(configure(), {}, len(dataset.rows.train_labels))
    model = fit(dataset, replace(configuration, seed=seed)).model
    with torch.no_grad():
        answers = model(dataset.rows.test_features).argmax(dim=1)
    return float((answers == dataset.rows.test_labels).float().mean())


def write(path: Path, rows: Any, labels: Any) -> None:  # noqa: ANN401 - as above
    """Write a table as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(f"x{at}" for at in range(rows.shape[1])), "label"])
        writer.writerows(
            [*map(repr, map(float, row)), f"class {np.int64(label)}"]
            for row, label in zip(rows, labels, strict=True)
        )


if __name__ == "__main__":
    main()

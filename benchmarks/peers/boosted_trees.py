"""A peer's fit and prediction with its defaults, in memory: ``CONTENDER TRAIN SCORED``, npz."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

CONTENDERS: dict[str, Any] = {
    "XGBoost": lambda: XGBClassifier(n_jobs=2),
    "MLPClassifier": lambda: make_pipeline(StandardScaler(), MLPClassifier((32,), random_state=1)),
}


def main(name: str, *paths: str) -> None:
    """Fit, predict and print the figures."""
    train, scored = map(np.load, paths)
    rows, truth = scored["numbers"], scored["labels"]
    numbers, labels = train["numbers"], train["labels"].astype(int)
    started = time.perf_counter()
    model = CONTENDERS[name]().fit(numbers, labels)
    fitted = time.perf_counter()
    probabilities = model.predict_proba(rows)
    ended = time.perf_counter()
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    rate = len(rows) / (ended - fitted)
    print(json.dumps({"fit": fitted - started, "rate": rate, "accuracy": accuracy}))


if __name__ == "__main__":
    main(*sys.argv[1:])

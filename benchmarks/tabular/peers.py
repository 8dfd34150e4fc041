"""The peers with their defaults, one thread each: what someone gets who tunes nothing.

A column is a number where pandas reads it as one, a date where it is ISO 8601, else a category.
scikit-learn's models get standardised numbers, with gaps at the median, and categories one-hot; the
others get categories as such and, where they cannot fill gaps themselves, the same medians.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tabular.worker import Job, Prediction, Stopwatch, serve
from xgboost import XGBClassifier

Frame = Any  # neither pandas nor the peers publish types
Predict = Callable[[Frame], Any]  # rows → (rows, classes) probabilities
Contender = Callable[[Frame, Any, int], Predict]  # rows, their classes by number, seed
MISSING = "missing"  # the category of an empty cell, for those that need one


def fit(job: Job) -> Prediction:
    """Fit a contender and predict the test rows."""
    train, test, labels, test_labels = read(job)
    with Stopwatch() as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some defaults end before convergence, and say so
        predict = CONTENDERS[job.contender](train, labels, job.seed)
    return Prediction(predict(test), test_labels, 0, watch.wall, watch.cpu)


def read(job: Job) -> tuple[Frame, Frame, Any, Any]:
    """Read both files; categories are those of the training rows, and classes are numbered."""
    train, test = (
        pd.read_csv(path, dtype={job.label: str}, keep_default_na=False, na_values=[""])
        for path in (job.train, job.test)
    )
    classes = sorted(train[job.label].unique())
    labels, test_labels = (
        frame.pop(job.label).map(classes.index).to_numpy(np.int64) for frame in (train, test)
    )
    columns = {name: convert(train[name], test[name]) for name in train}
    train, test = (
        pd.DataFrame({name: pair[at] for name, pair in columns.items()}) for at in (0, 1)
    )
    return train, test, labels, test_labels


def convert(train: Frame, test: Frame) -> tuple[Frame, Frame]:
    """Convert a column: numbers, dates as days, else categories; one not seen is missing."""
    if pd.api.types.is_numeric_dtype(train):
        return train.astype(float), pd.to_numeric(test, errors="coerce").astype(float)
    try:
        return as_days(train), as_days(test)
    except ValueError:
        texts = train.astype(str).where(train.notna())
        known = pd.CategoricalDtype(sorted(texts.dropna().unique()))
        return texts.astype(known), test.astype(str).where(test.notna()).astype(known)


def as_days(column: Frame) -> Frame:
    """Convert dates of ISO 8601 into days since 1970."""
    instants = pd.to_datetime(column, format="ISO8601", utc=True)
    return (instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)


def categories(rows: Frame) -> list[str]:
    """Name the columns that are categories."""
    return [name for name in rows if isinstance(rows[name].dtype, pd.CategoricalDtype)]


def name_missing(rows: Frame) -> Frame:
    """Give empty cells of categories a category."""
    texts = categories(rows)
    return rows.assign(**{name: rows[name].astype(object).fillna(MISSING) for name in texts})


def standardised(model: Any, train: Frame, labels: Any) -> Predict:  # noqa: ANN401 - see Frame
    """Fit a model of scikit-learn on standardised numbers and one-hot categories."""
    texts = categories(train)
    numbers = [name for name in train if name not in texts]
    steps = [
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
    ]
    inputs = ColumnTransformer(steps, sparse_threshold=0)
    model.fit(inputs.fit_transform(name_missing(train)), labels)
    return lambda rows: model.predict_proba(inputs.transform(name_missing(rows)))


def mlp(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
    """scikit-learn's network, as wide as our default."""
    return standardised(MLPClassifier((32,), random_state=seed), train, labels)


def logistic_regression(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
    """scikit-learn's, with steps enough to converge."""
    return standardised(LogisticRegression(max_iter=1000, random_state=seed), train, labels)


def xgboost(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
    """XGBoost."""
    model = XGBClassifier(enable_categorical=True, n_jobs=1, random_state=seed)
    model.fit(train, labels)
    return lambda rows: model.predict_proba(rows)  # noqa: PLW0108 - its type is unknown


def lightgbm(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
    """LightGBM; it takes no names with brackets and the like."""
    names = [f"x{at}" for at in range(train.shape[1])]
    model = LGBMClassifier(n_jobs=1, random_state=seed, verbose=-1)
    model.fit(train.set_axis(names, axis="columns"), labels)
    return lambda rows: model.predict_proba(rows.set_axis(names, axis="columns"))


def catboost(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
    """CatBoost."""
    options = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    model = CatBoostClassifier(cat_features=categories(train), random_seed=seed, **options)
    model.fit(name_missing(train), labels)
    return lambda rows: model.predict_proba(name_missing(rows))


def pytabkit(network: Any) -> Contender:  # noqa: ANN401 - as above
    """A network of pytabkit; none of them fills gaps of numbers."""

    def begin(train: Frame, labels: Any, seed: int) -> Predict:  # noqa: ANN401 - as above
        medians = train.median(numeric_only=True).fillna(0.0)
        texts = categories(train)

        def clean(rows: Frame) -> Frame:
            return name_missing(rows.fillna(medians))

        model = network(device="cpu", n_threads=1, random_state=seed)
        model.fit(clean(train), labels, cat_col_names=texts)
        return lambda rows: model.predict_proba(clean(rows))

    return begin


CONTENDERS: dict[str, Contender] = {
    "MLPClassifier": mlp,
    "logistic regression": logistic_regression,
    "XGBoost": xgboost,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "RealMLP": pytabkit(RealMLP_TD_Classifier),
    "TabM": pytabkit(TabM_D_Classifier),
}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    serve(fit)

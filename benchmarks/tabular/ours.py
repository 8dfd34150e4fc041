"""Fit a table as a user does, with ``trainer.fit_table``: a preset, or a variant of it.

Two options are given to every table: a category that training did not have is none of the known
ones, and rare ones of a long list are joined. The peers do so unasked. A column that is refused
until it is declared is declared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tabular.variants import options_of
from tabular.worker import Job, Prediction, Stopwatch, serve

import trainer
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset


def fit(job: Job) -> Prediction:
    """Fit a preset and predict the test rows."""
    train, options = Path(job.train), options_of(job.contender, read(job, job.train).shape)
    with tempfile.TemporaryDirectory() as folder, Stopwatch() as watch:
        # All training rows are trained on; the rows that count are unknown to the fit.
        run = trainer.fit_table(
            train,
            job.label,
            test=train,
            unseen="other",
            rare="other",
            categories=job.categories,
            **options,
            seed=job.seed,
            out=Path(folder) / "run",
            device="cpu",
            verbose=False,
        )
    dataset = read(job, job.test)
    rows, rejected = dataset.rows, dataset.check and dataset.check.rejected
    with torch.no_grad():
        probabilities = run.model(rows.test_features).double().softmax(dim=1)
    refused = sum(each.test_rows for each in rejected or ())
    return Prediction(
        probabilities.numpy(), rows.test_labels.numpy(), refused, watch.wall, watch.cpu
    )


def read(job: Job, test: str) -> Dataset:
    """Read the training rows and others."""
    source = TableSource(
        Path(job.train),
        job.label,
        test=Path(test),
        unseen="other",
        rare="other",
        categories=tuple(job.categories),
        bad_rows="reject",
    )
    return read_dataset(source, job.seed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(fit)

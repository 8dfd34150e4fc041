from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from runtime.errors import UsageError
from trainer.data.products import synthetic_products


def test_products_have_the_documented_size_types_and_schema() -> None:
    """800 training and 200 test rows, as float32 and int64."""
    dataset = synthetic_products()
    rows, schema = dataset.rows, dataset.schema
    assert rows.train_features.shape == (800, 2)
    assert rows.test_features.shape == (200, 2)
    assert {part.dtype for part in (rows.train_features, rows.test_features)} == {torch.float32}
    assert {part.dtype for part in (rows.train_labels, rows.test_labels)} == {torch.int64}
    assert schema.target == "popular"
    assert schema.feature_names == ("price", "rating")
    assert schema.classes == ("no", "yes")


def test_labels_and_ranges_follow_from_the_features() -> None:
    """Class 1 is a sum above 10; the schema's ranges are those of the training rows."""
    dataset = synthetic_products(5, train_rows=3000, test_rows=3000)
    rows = dataset.rows
    for features, labels in (
        (rows.train_features, rows.train_labels),
        (rows.test_features, rows.test_labels),
    ):
        assert torch.equal(labels, (features.sum(dim=1) > 10).long())
        assert features[:, 0].min() >= 1
        assert features[:, 0].max() < 10
        assert features[:, 1].min() >= 1
        assert features[:, 1].max() < 5
    seen = [(feature.minimum, feature.maximum) for feature in dataset.schema.features]
    expected = zip(rows.train_features.amin(0), rows.train_features.amax(0), strict=True)
    assert seen == [(float(low), float(high)) for low, high in expected]


def test_the_schema_has_the_distribution_of_the_training_rows() -> None:
    """Deciles are values of training rows, with a tenth of these rows in each bin."""
    dataset = synthetic_products(5, train_rows=1000)
    for feature, values in zip(dataset.schema.features, dataset.rows.train_features.T, strict=True):
        ordered = sorted(values.tolist())
        assert feature.quantiles == (ordered[0], *ordered[99::100])
        assert feature.shares == (0.1,) * 10


def test_the_same_seed_draws_the_same_products() -> None:
    """Compared by digest; seeds equal in their low 32 bits differ."""
    digests = [synthetic_products(seed).digest() for seed in (4, 4, 5, 4 + 2**32)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_drawing_leaves_the_global_random_state() -> None:
    """The caller's random numbers do not change."""
    before = torch.get_rng_state()
    synthetic_products(9)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_digest_is_sha256_over_the_bytes_of_the_tensors() -> None:
    """Recomputed here; one changed value changes it."""
    dataset = synthetic_products(2)
    content = b"".join(part.numpy().tobytes() for part in dataset.rows.by_name().values())
    assert dataset.digest() == hashlib.sha256(content).hexdigest()
    altered = dataset.rows.test_labels.clone()
    altered[-1] = 1 - altered[-1]
    assert replace(dataset, rows=replace(dataset.rows, test_labels=altered)).digest() != (
        dataset.digest()
    )


@pytest.mark.parametrize(
    "options",
    [{"train_rows": 0}, {"test_rows": 0}, {"seed": -1}],
    ids=["no training rows", "no test rows", "negative seed"],
)
def test_a_number_out_of_range_is_refused(options: dict[str, int]) -> None:
    """Each split needs a row."""
    with pytest.raises(UsageError):
        synthetic_products(**options)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.golden_rows import choose_golden
from runtime.bundle.golden import load_golden, save_golden

if TYPE_CHECKING:
    import pytest

    from exporter.rows.blocks import ProofRows
    from exporter.truth.oracle import Ask
    from trainer.run import Run


def test_golden_rows_are_the_first_of_their_blocks(rows: ProofRows, ask: Ask) -> None:
    """Known rows, corners, edges and uniform rows, each with the oracle's answer for it."""
    golden = choose_golden(rows, ask)
    assert np.array_equal(golden.features[:16], rows.features[:16])
    oracle = ask(golden.features)
    assert np.array_equal(golden.logits[:16], oracle.logits.value[:16])
    assert np.array_equal(golden.logits_bound[:16], oracle.logits.error[:16])
    assert np.array_equal(golden.probabilities[:16], oracle.probabilities.value[:16])
    assert np.array_equal(golden.probabilities_bound[:16], oracle.probabilities.error[:16])
    assert np.array_equal(golden.label[:16], oracle.label[:16])
    assert golden.decidable.all()
    assert (golden.logits_bound > 0).all()


def test_golden_rows_are_stored_as_the_same_bytes(
    rows: ProofRows, ask: Ask, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No clock reading gets into the archive, and reading gives back what was written."""
    golden = choose_golden(rows, ask)
    content = save_golden(golden)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert save_golden(golden) == content
    read = load_golden(content, run.record.schema, where="golden")
    assert np.array_equal(read.logits, golden.logits)

from __future__ import annotations

import pytest

from runtime.errors import UsageError
from trainer.schedule import Position, learning_rates, parse_schedule


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
        ("step:2:0.1", [1, 1, 0.1, 0.1]),
        ("step:1:0.5", [1, 0.5, 0.25, 0.125]),
    ],
)
def test_a_schedule_is_a_function_of_the_epoch(text: str, rates: list[float]) -> None:
    """It starts at the learning rate and never reaches 0."""
    found = [learning_rates(1, text, Position(epoch, 2, 4, 9), 3) for epoch in range(4)]
    assert found == [pytest.approx([rate] * 3, abs=1e-6) for rate in rates]
    assert learning_rates(0.3, text, Position(0, 0, 4, 9), 1) == [0.3]


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("warmup-cosine:0", [1, 0.933013, 0.75, 0.5, 0.25, 0.066987]),
        ("warmup-cosine:0.4", [1 / 3, 2 / 3, 1, 0.853553, 0.5, 0.146447]),
        ("warmup-cosine:0.99", [1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1]),
    ],
)
def test_a_schedule_with_warm_up_is_a_function_of_the_step(text: str, rates: list[float]) -> None:
    """Of two epochs of three steps; it never is 0, and reaches the learning rate."""
    for epoch, step in ((0, 0), (0, 2), (1, 0), (1, 1)):
        found = learning_rates(1, text, Position(epoch, step, 2, 3), 3 - step)
        assert found == pytest.approx(rates[3 * epoch + step : 3 * epoch + 3], abs=1e-6)
    assert max(rates) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "warm",
        "step",
        "step:3",
        "step:0:0.1",
        "step:3:0",
        "step:3:1.5",
        "step:a:0.1",
        "step:3:0.1:2",
        "cosine:2",
        "step:3:nan",
        "warmup-cosine",
        "warmup-cosine:1",
        "warmup-cosine:-0.1",
        "warmup-cosine:nan",
        "warmup-cosine:0.1:2",
        "constant ",
    ],
)
def test_an_invalid_schedule_is_refused(text: str) -> None:
    """The message shows the grammar."""
    with pytest.raises(
        UsageError, match="is not a schedule: use constant, linear, cosine, warmup-cosine:"
    ):
        parse_schedule(text)

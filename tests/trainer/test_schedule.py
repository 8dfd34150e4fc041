from __future__ import annotations

import pytest

from runtime.errors import UsageError
from trainer.schedule import learning_rate_at, parse_schedule


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
    assert [learning_rate_at(1, text, epoch, 4) for epoch in range(4)] == pytest.approx(
        rates, abs=1e-6
    )
    assert learning_rate_at(0.3, text, 0, 4) == 0.3


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
        "constant ",
    ],
)
def test_an_invalid_schedule_is_refused(text: str) -> None:
    """The message shows the grammar."""
    with pytest.raises(
        UsageError, match="is not a schedule: use constant, linear, cosine or step:"
    ):
        parse_schedule(text)

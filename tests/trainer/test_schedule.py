from __future__ import annotations

import pytest

from runtime.errors import UsageError
from trainer.schedule import parse_schedule, rate_of


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
    """It starts with the learning rate and never comes to 0."""
    assert [rate_of(1, text, epoch, 4) for epoch in range(4)] == pytest.approx(rates, abs=1e-6)
    assert rate_of(0.3, text, 0, 4) == 0.3


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
def test_other_text_is_no_schedule(text: str) -> None:
    """The message shows the grammar."""
    with pytest.raises(UsageError, match="is no schedule: give constant, linear, cosine or step:"):
        parse_schedule(text)

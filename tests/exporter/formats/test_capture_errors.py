"""A module that torch cannot capture is told why, and at which of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program
from runtime.errors import UsageError
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = Schema("kind", tuple(Feature(name, 0.0, 4.0) for name in "abc"), ("no", "yes"))
LINEAR = nn.Linear(3, 2)


class Net(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x)


def asks_length(x: torch.Tensor) -> torch.Tensor:
    return LINEAR(x) + torch.zeros(len(x), 1)  # type: ignore[no-any-return]


def loops_over_rows(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([LINEAR(x[row]) for row in range(x.shape[0])])


def takes_a_number(x: torch.Tensor) -> torch.Tensor:
    return LINEAR(x) + torch.zeros(int(x.shape[0]), 1)  # type: ignore[no-any-return]


def has_a_fixed_size(x: torch.Tensor) -> torch.Tensor:
    return LINEAR(x.view(2, 3))  # type: ignore[no-any-return]


def branches(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:
        x = -x
    return LINEAR(x)  # type: ignore[no-any-return]


def asserts(x: torch.Tensor) -> torch.Tensor:
    assert (x < 100).all()
    return LINEAR(x)  # type: ignore[no-any-return]


def leaves_torch(x: torch.Tensor) -> torch.Tensor:
    return LINEAR(torch.from_numpy(np.log1p(x.numpy())))  # type: ignore[no-any-return]


def raises(_: torch.Tensor) -> torch.Tensor:
    raise ValueError("no such column")


PLACE = r" at test_capture_errors\.py:\d+, `"
REASONS: dict[Callable[[torch.Tensor], torch.Tensor], str] = {
    asks_length: rf"rows becomes a constant{PLACE}return LINEAR.*len\(x\).*`: use x\.shape\[0\]",
    loops_over_rows: rf"rows becomes a constant{PLACE}return .*range\(x\.shape\[0\]\).*`",
    takes_a_number: rf"rows becomes a constant{PLACE}return .*int\(x\.shape\[0\]\).*`",
    has_a_fixed_size: r"rows becomes a constant: use",
    branches: rf"branches on values.*{PLACE}if x\.sum\(\) > 0:`: use torch\.where",
    asserts: rf"branches on values.*{PLACE}assert \(x < 100\)\.all\(\)`",
    leaves_torch: rf"leaves torch for numpy{PLACE}return .*`: use torch's own",
    raises: rf"no such column{PLACE}raise ValueError",
}


@pytest.mark.parametrize("change", REASONS, ids=lambda change: change.__name__)
def test_the_reason_and_its_line_are_named(
    change: Callable[[torch.Tensor], torch.Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    """The message is one line without torch's advice to set variables; nothing else is printed."""
    with pytest.raises(UsageError, match=REASONS[change]) as caught:
        capture_program(Deployed(Net(change)).eval(), SCHEMA)
    assert "TORCH" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_symbolic_number_of_rows_is_captured() -> None:
    """What the messages advise works."""
    net = Net(lambda x: LINEAR(x) + torch.zeros(x.shape[0], 1) + torch.where(x > 0, x, -x)[:, :1])
    program = capture_program(Deployed(net).eval(), SCHEMA)
    assert program.graph_signature.user_outputs

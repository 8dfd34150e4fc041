"""The question the tutorial asked its network last: is this product popular?

In: a network of price and rating. Out: one line of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.model import SimpleNet

_PRICE, _RATING = 7.5, 3.0
_WORDS = ("not popular", "popular")  # in the order of the classes


def answer_example(model: SimpleNet) -> str:
    """Ask the network about a product of price 7.5 and rating 3.0.

    Args:
        model: of raw price and rating, classes no and yes.

    Returns:
        The answer and its probability.
    """
    with torch.no_grad():
        logits = model(torch.tensor([[_PRICE, _RATING]]))  # (1, 2)
    probability, label = logits.softmax(dim=1).max(dim=1)  # (1,) each
    return (
        f"price {_PRICE}, rating {_RATING}: {_WORDS[int(label)]} "
        f"(probability {float(probability):.2f})"
    )

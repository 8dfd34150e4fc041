"""How long a search is: a number of trials, or of seconds."""

from __future__ import annotations

import re
from typing import Final

from runtime.errors import UsageError
from runtime.surfaces import option
from runtime.value import Value

_MIN_TRIALS, _MAX_TRIALS = 2, 10_000  # the options without a search, and one more
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_FORM: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)")


class Budget(Value, frozen=True):
    """The length of a search.

    Attributes:
        trials: of that many, with the defaults as the first.
        seconds: for the trials, those that confirm the best among them; the fit comes on top.
    """

    trials: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.seconds:g}s" if self.trials is None else str(self.trials)


def parse_budget(given: int | str) -> Budget:
    """Parse ``20`` (trials) or ``60s``, ``5m``, ``1h``."""
    text = str(given).strip()
    found = _FORM.fullmatch(text)
    number, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if unit and number > 0:
        return Budget(seconds=number * _SECONDS[unit])
    if number.is_integer() and _MIN_TRIALS <= number <= _MAX_TRIALS:
        return Budget(trials=int(number))
    raise UsageError(
        f"{option('tune')} takes {_MIN_TRIALS} to {_MAX_TRIALS:,} trials, such as 20, or a time, "
        f"such as 60s, 5m or 1h; got {text!r}"
    )

"""How fast a fit goes, and when it will be done.

In: epochs as they end, and a clock. Out: rows a second and seconds. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.epoch import Epoch

_MINUTE, _HOUR = 60, 3600  # seconds


class Pace:
    """The mean over all epochs but the first, which also prepares; of one alone, over that.

    Attributes:
        rows_per_s: rows learned from in a second.
        epoch_s: seconds an epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start the clock.

        Args:
            clock: seconds, from any beginning.
        """
        self._clock = clock
        self._since = clock()
        self._first: int | None = None
        self.rows_per_s = self.epoch_s = 0.0

    def see(self, epoch: Epoch) -> None:
        """Take up an epoch at its end."""
        now = self._clock()
        if self._first is None:  # a fit may have been taken up in any epoch
            self._measure(epoch, 1, now)
            self._first, self._since = epoch.index, now
        else:
            self._measure(epoch, epoch.index - self._first, now)

    def _measure(self, epoch: Epoch, epochs: int, now: float) -> None:
        self.epoch_s = max(now - self._since, 1e-9) / epochs  # a clock may stand still
        self.rows_per_s = epoch.rows / self.epoch_s


def describe_pace(pace: Pace, epoch: Epoch) -> str:
    """Say how fast a fit goes, and how long it will go on.

    Args:
        pace: which has seen the epoch.
        epoch: the last one that ended.

    Returns:
        A few words; of the last epoch, the speed alone.
    """
    speed = f"{pace.rows_per_s:,.0f} rows/s"
    if not (left := epoch.epochs - epoch.index - 1):
        return speed
    most = "" if epoch.patience is None else "at most "
    return f"{speed}, {most}{_clock_time(left * pace.epoch_s)} left"


def _clock_time(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    if hours:
        return f"{hours}:{minutes:02}:{whole % _MINUTE:02}"
    return f"{minutes}:{whole % _MINUTE:02}"

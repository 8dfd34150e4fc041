"""From results to the tables of the report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tabular.cache import Result

# By table and contender: the results of all seeds.
Results = Mapping[str, Mapping[str, Sequence[Result]]]
TIE = 0.005  # half a point of accuracy


@dataclass(frozen=True)
class Duel:
    """One contender against another over the tables that both can do; differences in accuracy."""

    won: int
    tied: int
    lost: int
    differences: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean difference."""
        return _average(self.differences.values())

    @property
    def worst(self) -> tuple[str, float]:
        """The table with the largest loss, and the difference there."""
        return min(self.differences.items(), key=lambda item: item[1])


def mean(results: Sequence[Result], unit: str) -> float:
    """Average a unit over the seeds; NaN where a fit failed."""
    return statistics.fmean(getattr(result, unit) for result in results)


def mean_accuracy(results: Results, name: str) -> float:
    """Average the accuracy over the tables on which no contender failed."""
    return _average(mean(found[name], "accuracy") for found in _complete(results))


def mean_log_loss(results: Results, name: str) -> float:
    """Average the log loss likewise."""
    return _average(mean(found[name], "log_loss") for found in _complete(results))


def duel(results: Results, one: str, other: str) -> Duel:
    """Let one meet another on every table.

    A tie is a difference within half a point, or within one standard error of the differences over
    the seeds, which had the same rows.
    """
    differences, outcomes = {}, []
    for table, by_contender in results.items():
        pairs = zip(by_contender[one], by_contender[other], strict=True)
        over_seeds = [mine.accuracy - theirs.accuracy for mine, theirs in pairs]
        difference = statistics.fmean(over_seeds)
        if math.isnan(difference):
            continue
        differences[table] = difference
        outcomes.append(outcome(over_seeds))
    return Duel(outcomes.count(1), outcomes.count(0), outcomes.count(-1), differences)


def log_loss_differences(results: Results, one: str, other: str) -> list[float]:
    """Subtract the other's log loss from the one's, on every table that both can do."""
    pairs = [(found[one], found[other]) for found in results.values()]
    differences = [mean(mine, "log_loss") - mean(theirs, "log_loss") for mine, theirs in pairs]
    return [difference for difference in differences if not math.isnan(difference)]


def with_error(values: Sequence[float], form: str) -> str:
    """Format a mean and, of two values or more, its standard error."""
    if len(values) < 2:
        return format(_average(values), form)
    error = format(_standard_error(values), form.removeprefix("+"))
    return f"{statistics.fmean(values):{form}} ± {error}"


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def outcome(differences: Sequence[float]) -> int:
    """Say 1 for won, 0 for tied and -1 for lost, from the differences over the seeds."""
    error = _standard_error(differences) if len(differences) > 1 else 0.0
    difference = statistics.fmean(differences)
    if abs(difference) <= max(TIE, error):
        return 0
    return 1 if difference > 0 else -1


def ranks(accuracies: Sequence[float]) -> list[float]:
    """Rank accuracies, 1 the best; equal ones share the mean of their ranks."""
    return [
        1 + sum(other > each for other in accuracies) + (accuracies.count(each) - 1) / 2
        for each in accuracies
    ]


def standings(results: Results, contenders: Sequence[str]) -> str:
    """Format the means over the tables on which no contender failed."""
    complete = _complete(results)
    found = [[mean(table[name], "accuracy") for name in contenders] for table in complete]
    ranked = [ranks(row) for row in found]
    lines = [
        "| contender | accuracy | rank | log loss | CPU s a fit, mean | median | failed fits |",
        "|---|---|---|---|---|---|---|",
    ]
    for at, name in enumerate(contenders):
        own = [table[name] for table in complete]
        seconds = [mean(each, "cpu") for each in own]
        failed = sum(bool(result.error) for table in results.values() for result in table[name])
        lines.append(
            f"| {name} | {mean_accuracy(results, name):.4f} "
            f"| {_average(row[at] for row in ranked):.2f} "
            f"| {mean_log_loss(results, name):.4f} "
            f"| {_average(seconds):.2f} | {_median(seconds):.2f} | {failed} |"
        )
    return "\n".join(lines)


def duels(results: Results, one: str, others: Sequence[str]) -> str:
    """Format what one contender came to against each other."""
    lines = [
        f"| {one} against | won | tied | lost | mean difference, points | worst |",
        "|---|---|---|---|---|---|",
    ]
    for other in others:
        found = duel(results, one, other)
        table, difference = found.worst if found.differences else ("none", math.nan)
        lines.append(
            f"| {other} | {found.won} | {found.tied} | {found.lost} | {100 * found.mean:+.2f} "
            f"| {100 * difference:+.1f}, {table} |"
        )
    return "\n".join(lines)


def accuracies(
    results: Results, contenders: Sequence[str], facts: Mapping[str, Mapping[str, float]]
) -> str:
    """Format the accuracies on every table, in percent, and what is in it; the best in bold."""
    names = " | ".join(contenders)
    lines = [
        f"| table | rows | columns | of text | gaps | classes | largest | {names} |",
        "|---" * (7 + len(contenders)) + "|",
    ]
    for table, found in results.items():
        known = facts[table]
        cells = _cells([100 * mean(found[name], "accuracy") for name in contenders], ".1f", max)
        lines.append(
            f"| {table} | {known['rows']:,.0f} | {known['columns']:.0f} | {known['texts']:.0f} "
            f"| {known['gaps']:.1%} | {known['classes']:.0f} | {known['largest']:.0%} | {cells} |"
        )
    return "\n".join(lines)


def log_losses(results: Results, contenders: Sequence[str]) -> str:
    """Format the log losses on every table; the best in bold."""
    lines = [f"| log loss | {' | '.join(contenders)} |", "|---" * (1 + len(contenders)) + "|"]
    for table, found in results.items():
        cells = _cells([mean(found[name], "log_loss") for name in contenders], ".3f", min)
        lines.append(f"| {table} | {cells} |")
    return "\n".join(lines)


def _complete(results: Results) -> list[Mapping[str, Sequence[Result]]]:
    """The results of the tables on which no fit failed."""
    return [
        found
        for found in results.values()
        if not any(result.error for each in found.values() for result in each)
    ]


def _cells(numbers: Sequence[float], form: str, best: Callable[[list[float]], float]) -> str:
    """Format numbers, those that read as the best one in bold; NaN is never the best."""
    known = [number for number in numbers if not math.isnan(number)]
    winner = format(best(known), form) if known else ""
    texts = [format(number, form) for number in numbers]
    return " | ".join(f"**{text}**" if text == winner else text for text in texts)


def _average(values: Iterable[float]) -> float:
    """The mean; NaN of none."""
    known = list(values)
    return statistics.fmean(known) if known else math.nan


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan

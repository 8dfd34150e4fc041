"""Summary of a scoring run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runtime.printable import printable, truncate
from runtime.surfaces import option
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.io.paths import Location
    from runtime.monitoring.accuracy import AccuracyReport
    from runtime.monitoring.drift import DriftReport
    from runtime.monitoring.ranges import OutOfRange


_MAX_CHARACTERS = 40  # of a class in a note
_MIN_CELLS = 10  # of fewer, all categories may well be new


class Summary(Value, frozen=True):
    """Counts, times and statistics of a scoring run.

    Attributes:
        rows: records read.
        scored: records with a prediction.
        rejected: records without a prediction.
        reasons: number of rejected records by reason.
        provider: execution provider, ``cpu`` or ``cuda``.
        seconds: wall time.
        rejects: path of the rejects file; None without one.
        provider_reason: why this provider was chosen.
        model: name and version.
        out_of_range: counts of scored values outside the training range, by feature.
        truth: accuracy, with ``Options.truth``.
        drift: drift from the training rows, with ``Options.drift``.
        stages: seconds spent in each stage, summed over threads.
        blocks: of records that were read; each was one call of the model.
        files: paths of what was written, by option: ``out``, ``rejects``, ``drift``, ``summary``.
        absent: features that no record of the table, or of one of the tables, has.
        classes: of the model.
        proba: those whose probability has a column of its own.
        hints: what may be wrong with many bad cells alike, a sentence each.
    """

    rows: int
    scored: int
    rejected: int
    reasons: Mapping[str, int]
    provider: str
    seconds: float
    rejects: Location | None = None
    provider_reason: str = ""
    model: str = ""
    out_of_range: Mapping[str, OutOfRange] = msgspec.field(default_factory=dict)
    truth: AccuracyReport | None = None
    drift: DriftReport | None = None
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)
    absent: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    proba: tuple[str, ...] = ()
    blocks: int = 0
    files: Mapping[str, Location] = msgspec.field(default_factory=dict)
    hints: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{self.scored:,} of {self.rows:,} rows scored", f"{self.seconds:.2f} s"]
        if self.rejected:
            reasons = (f"{count:,} {reason}" for reason, count in self.reasons.items())
            parts.insert(1, f"{self.rejected:,} bad: {', '.join(reasons)}")
        if self.truth and self.truth.accuracy:
            parts.insert(1, f"accuracy {self.truth.accuracy.share:.1%}")
        return f"Summary({printable('; '.join(parts))}, on {self.provider})"

    def _repr_html_(self) -> str:
        from runtime.cards import html_card

        lines = [
            ("rows", f"{self.rows:,} in {self.seconds:.2f} s"),
            ("scored", f"{self.scored:,} on {self.provider} ({self.provider_reason})"),
        ]
        lines += [(f"bad: {reason}", f"{count:,}") for reason, count in self.reasons.items()]
        lines += [("hint", hint) for hint in self.hints]
        lines += [("warning", warning) for warning in self.warnings]
        lines += [
            (f"out of range: {name}", f"{counts.total:,}")
            for name, counts in self.out_of_range.items()
            if counts.total
        ]
        if self.truth and self.truth.accuracy:
            accuracy = f"{self.truth.accuracy.share:.1%} of {self.truth.rows:,} rows"
            lines.append(("accuracy", accuracy))
        drift = self.drift.features if self.drift else ()
        lines += [(f"drift: {each.name}", each.reading) for each in drift]
        return html_card(f"Summary {self.model}", lines)

    @property
    def rows_per_second(self) -> float:
        """Records read per second."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def probability_note(self) -> str:
        """What the column ``probability`` of a model of two classes is not, and how to get that."""
        if len(self.classes) != 2 or self.proba:  # noqa: PLR2004 - of more, nobody expects it
            return ""
        from runtime.schema.classes import positive_class

        found = positive_class(self.classes)
        name = truncate(self.classes[-1 if found is None else found], _MAX_CHARACTERS)
        value = name if found is None else "positive"
        return f"that of the label; {option('proba', value)} adds that of {name!r}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Columns of which no scored cell has a category of training; of few cells, none."""
        return describe_unseen(self.out_of_range)

    def values(self) -> dict[str, object]:
        """Convert to JSON types; of drift only the indices, as the report has a file of its own.

        Returns:
            The object that the command line prints or writes.
        """
        values: dict[str, object] = {
            "rows": self.rows,
            "scored": self.scored,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "rejects": str(self.rejects) if self.rejects else None,
            "files": {name: str(path) for name, path in self.files.items()},
            "model": self.model,
            "provider": self.provider,
            "provider_reason": self.provider_reason,
            "seconds": round(self.seconds, 6),
            "rows_per_second": round(self.rows_per_second),
            "out_of_range": msgspec.to_builtins(dict(self.out_of_range)),
        }
        if self.absent:
            values["absent"] = list(self.absent)
        if self.hints:
            values["hints"] = list(self.hints)
        if self.warnings:
            values["warnings"] = list(self.warnings)
        if self.truth:
            values["truth"] = msgspec.to_builtins(self.truth)
        if self.drift:
            values["drift"] = {
                each.name: {"psi": each.psi, "reading": each.reading}
                | ({"reason": each.reason} if each.reason else {})
                for each in self.drift.features
            } | {
                other.name: {"psi": None, "reading": "not a feature", "reason": other.reason}
                for other in self.drift.others
            }
        if self.stages:
            values["stages"] = {name: round(seconds, 6) for name, seconds in self.stages.items()}
        return values

    def to_json(self) -> bytes:
        """Serialize as indented JSON in ASCII.

        Returns:
            One JSON object with a line end.
        """
        import json

        return json.dumps(self.values(), indent=2).encode() + b"\n"


def describe_unseen(out_of_range: Mapping[str, OutOfRange]) -> tuple[str, ...]:
    """Name the columns of which no cell has a category of training; of few cells, none."""
    return tuple(
        f"column {name!r}: no cell has a category of training; are they written another way?"
        for name, counts in out_of_range.items()
        if counts.all_unseen and counts.unseen >= _MIN_CELLS
    )

"""What scoring did: for people (``runtime.terminal.summary``), and as JSON for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.monitoring.accuracy import AccuracyReport
    from runtime.monitoring.drift import DriftReport
    from runtime.monitoring.ranges import OutOfRange


class Summary(Value, frozen=True):
    """What was done.

    Attributes:
        rows: records read.
        scored: records with an answer.
        rejected: records without one.
        reasons: how many records were rejected, by reason.
        provider: what the model ran on.
        seconds: wall time.
        rejects: where rejected records are listed, if they are.
        provider_reason: why this provider.
        model: name and version.
        out_of_range: how many scored values are unlike any of training, by feature.
        truth: how right the answers are, where ``--truth`` was given.
        drift: how the rows differ from training's, where ``--drift`` was given.
        stages: seconds spent in each stage, all threads together.
    """

    rows: int
    scored: int
    rejected: int
    reasons: Mapping[str, int]
    provider: str
    seconds: float
    rejects: Path | None = None
    provider_reason: str = ""
    model: str = ""
    out_of_range: Mapping[str, OutOfRange] = msgspec.field(default_factory=dict)
    truth: AccuracyReport | None = None
    drift: DriftReport | None = None
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Records read a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def values(self) -> dict[str, object]:
        """Give everything as JSON knows it; of drift, whose report has a file, only the index."""
        values: dict[str, object] = {
            "rows": self.rows,
            "scored": self.scored,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "rejects": str(self.rejects) if self.rejects else None,
            "model": self.model,
            "provider": self.provider,
            "provider_reason": self.provider_reason,
            "seconds": round(self.seconds, 6),
            "rows_per_second": round(self.rows_per_second),
            "out_of_range": msgspec.to_builtins(dict(self.out_of_range)),
        }
        if self.truth:
            values["truth"] = msgspec.to_builtins(self.truth)
        if self.drift:
            values["drift"] = {
                feature.name: {"psi": feature.psi, "reading": feature.reading}
                for feature in self.drift.features
            }
        if self.stages:
            values["stages"] = {name: round(spent, 6) for name, spent in self.stages.items()}
        return values

    def to_json(self) -> bytes:
        """Write one indented JSON object for ``--summary``; plain ASCII, as paths may be any."""
        import json

        return json.dumps(self.values(), indent=2).encode() + b"\n"

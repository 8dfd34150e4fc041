"""Every phase of reading a table is shown, with the rows read so far."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.io.sinks import open_sinks
from trainer.data.progress import TerminalProgress
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from runtime.io.paths import Location
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.memory import MemoryTable

    Save = Callable[[str, dict[str, list[Any]]], Path]


class Recorded:
    """Records the phases, and the bytes and rows at their ends."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int]] = []

    @contextmanager
    def rows(self, label: str, table: Location | MemoryTable) -> Iterator[OnProgress]:
        """Record the last call."""
        calls = [(0, 0)]
        yield lambda size, rows: calls.append((size, rows))
        assert calls[-1][0] == Path(str(table)).stat().st_size
        self.phases.append((label, *calls[-1]))

    @contextmanager
    def phase(self, label: str) -> Iterator[None]:
        """Record the name."""
        yield
        self.phases.append((label, 0, 0))


def test_every_pass_reports_its_bytes_and_rows(save: Save, tmp_path: Path) -> None:
    """To the end of each table, the test set among them; with rejected rows there are more."""
    path = save("t.csv", {"x": [1, 2] * 20, "y": ["a", "b"] * 19 + ["", "a"]})
    test = save("test.csv", {"x": [1, 2], "y": ["a", "b"]})
    source = TableSource(path, "y", test=test, bad_rows="reject", rejects=tmp_path / "r.csv")
    recorded = Recorded()
    with open_sinks() as open_sink:
        read_dataset(source, 1, open_sink, recorded)
    assert [(label, rows) for label, _, rows in recorded.phases] == [
        ("inspecting", 40),
        ("finding bad rows", 40),
        ("inspecting", 40),
        ("reading", 40),
        ("reading test set", 2),
        ("checking", 0),
    ]


def test_off_a_terminal_no_phase_is_shown(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    """A log has the check only."""
    path = save("t.csv", {"x": [1, 2] * 20, "y": ["a", "b"] * 20})
    read_dataset(TableSource(path, "y"), 1, progress=TerminalProgress())
    assert capsys.readouterr().err == ""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from runtime.io.parallel import map_ordered

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_come_in_the_order_of_the_items(threads: int, count: int) -> None:
    """Whatever finishes first, results come as the items did, none lost."""
    assert list(map_ordered(str, range(count), threads=threads)) == list(map(str, range(count)))


def test_a_late_first_item_holds_back_the_others() -> None:
    """The second item may be done long before the first; it still comes second."""
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(timeout=60)
        else:
            second_done.set()
        return item

    assert list(map_ordered(work, range(2), threads=2)) == [0, 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_read_only_a_little_ahead(threads: int) -> None:
    """A slow consumer holds back the source: memory stays bounded."""
    consumed = 0

    def items() -> Iterator[int]:
        nonlocal consumed
        for item in range(100):
            consumed += 1
            yield item

    results = map_ordered(abs, items(), threads=threads)
    for expected in range(50):
        assert next(results) == expected
        assert consumed <= expected + threads + 3
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert consumed < 60


def test_an_error_is_raised_in_its_items_place() -> None:
    """Earlier results come first, then the error; no further item is started."""
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = map_ordered(work, range(1000), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(begun) <= 8


def test_an_error_of_the_source_is_raised() -> None:
    """When the items end in an error, it is raised after the threads have ended."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the source broke")

    before = threading.active_count()
    with pytest.raises(ValueError, match="the source broke"):
        list(map_ordered(abs, items(), threads=4))
    assert threading.active_count() == before

"""Parsing and serializing the JSON of a request: msgspec, orjson and the standard library.

A request of flat or nested numbers is parsed to float64, and a response of float32 serialized.
msgspec checks types while it parses; the others would need a check of every value afterwards, which
is not counted.

python benchmarks/serving_json.py [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import timeit
from itertools import chain
from typing import TYPE_CHECKING

import measure
import msgspec
import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15
SECONDS = 0.01  # of one measurement


def contenders(rows: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Give what reads and writes so many rows of two numbers, by what and with what."""
    draw = np.random.default_rng(0)
    values = np.round(draw.uniform(1, 10, (rows, 2)), 2)
    answer = draw.uniform(0, 1, (rows, 2)).astype(np.float32)
    flat = orjson.dumps(values.reshape(-1).tolist())
    nested = orjson.dumps(values.tolist())
    read_flat = msgspec.json.Decoder(list[float]).decode
    read_nested = msgspec.json.Decoder(list[tuple[float, float]]).decode

    def numbers(found: list[float]) -> object:
        return np.fromiter(found, np.float64, 2 * rows)

    def joined(found: list[list[float]] | list[tuple[float, float]]) -> object:
        return np.fromiter(chain.from_iterable(found), np.float64, 2 * rows)

    return {
        "read, flat": {
            "msgspec": lambda: numbers(read_flat(flat)),
            "orjson": lambda: numbers(orjson.loads(flat)),
            "json": lambda: numbers(json.loads(flat)),
        },
        "read, nested": {
            "msgspec": lambda: joined(read_nested(nested)),
            "orjson": lambda: joined(orjson.loads(nested)),
            "json": lambda: joined(json.loads(nested)),
        },
        "write": {
            "msgspec": lambda: msgspec.json.encode(answer.reshape(-1).tolist()),
            "orjson": lambda: orjson.dumps(answer.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY),
            "json": lambda: json.dumps(answer.reshape(-1).tolist()).encode(),
        },
    }


def main() -> None:
    """Time all in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    lines = [
        "| rows | what | msgspec µs | orjson µs | json µs | msgspec ÷ orjson | json ÷ orjson |",
        "|---|---|---|---|---|---|---|",
    ]
    for rows in (1, 1024):
        for what, functions in contenders(rows).items():
            lines.append(f"| {rows} | {what} | {describe(functions)} |")
    sizes = {name: len(function()) for name, function in contenders(1024)["write"].items()}  # type: ignore[arg-type]  # each returns bytes
    told = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    measure.report(
        "serving_json",
        "JSON of a request",
        "\n".join(lines) + f"\n\nBytes of 1024 rows written: {told}.",
        ("msgspec", "orjson", "numpy"),
        note="Medians; ratios are medians over the pairs of measurements taken in turn.",
        write=args.write,
    )


def describe(functions: dict[str, Callable[[], object]]) -> str:
    """Time functions in turn; microseconds and ratios, as cells of the table."""
    once = timeit.timeit(functions["json"], number=10) / 10
    number = max(int(SECONDS / once), 1)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            times[name].append(timeit.timeit(function, number=number) / number * 1e6)
    middles = [statistics.median(found) for found in times.values()]
    ratios = [
        statistics.median(a / b for a, b in zip(times[name], times["orjson"], strict=True))
        for name in ("msgspec", "json")
    ]
    return " | ".join(f"{figure:.2f}" for figure in [*middles, *ratios])


if __name__ == "__main__":
    main()

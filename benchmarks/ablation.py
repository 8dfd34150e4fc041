"""What each choice of the default preset is worth: the preset, and itself with one made otherwise.

    python benchmarks/ablation.py [--seeds 2] [--write]

On the developing half of the tables of benchmarks/public_tables.py, which also has its options.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from public_tables import PACKAGES, peers_python, plan, prepare, results_of, teams
from tabular import summary
from tabular.cache import Cache
from tabular.catalogue import TABLES
from tabular.fits import run_all
from tabular.targets import DEFAULT
from tabular.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tabular.fits import Team

CONTENDERS = (DEFAULT, *VARIANTS)
TABLES_OF_DEVELOPING = [table for table in TABLES if table.half == "dev"]


def main() -> None:
    """Fit the preset and its variants, report."""
    args = parse(__doc__)
    results = fit_all(args, CONTENDERS)
    body = f"{summary.standings(results, CONTENDERS)}\n\n{changes(results, DEFAULT, VARIANTS)}"
    title = "The default preset with one choice made otherwise, the dev half"
    report("ablation", title, body, args, DEFAULT)


def parse(description: str | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="fits at a time, a thread each")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a fit")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/public_tables"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    return parser.parse_args()


def fit_all(args: argparse.Namespace, contenders: Sequence[str], *others: Team) -> summary.Results:
    """Fit contenders of our team, or of others, to the developing half."""
    python = peers_python(args.peers.resolve())
    prepared = prepare(TABLES_OF_DEVELOPING, args.seeds, args.folder.resolve(), python)
    cache = Cache(args.folder / "results.csv")
    found = [*teams(python), *others]
    fits = plan(TABLES_OF_DEVELOPING, args.seeds, list(contenders), prepared, found)
    run_all(fits, cache, workers=args.workers, limit_s=args.limit)
    return results_of(TABLES_OF_DEVELOPING, cache, fits)


def report(name: str, title: str, body: str, args: argparse.Namespace, base: str) -> None:
    """Print the result, and keep it if requested."""
    note = (
        f"{len(TABLES_OF_DEVELOPING)} tables, {args.seeds} seeds. Differences from {base} are in "
        "points of accuracy; tied: within half a point, or one standard error over the seeds. ±: a "
        "standard error of the mean over the tables."
    )
    measure.report(name, title, body, PACKAGES, note=note, write=args.write)


def changes(results: summary.Results, base: str, variants: Iterable[str]) -> str:
    """Format what each variant came to against what it varies."""
    lines = [
        "| variant | better | tied | worse | mean difference | log loss |",
        "|---|---|---|---|---|---|",
    ]
    for name in variants:
        found = summary.duel(results, name, base)
        losses = summary.log_loss_differences(results, name, base)
        points = [100 * difference for difference in found.differences.values()]
        lines.append(
            f"| {name} | {found.won} | {found.tied} | {found.lost} "
            f"| {summary.with_error(points, '+.2f')} | {summary.with_error(losses, '+.4f')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

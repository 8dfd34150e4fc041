"""Means that papers propose and the trainer doesn't have, each measured alone.

    python benchmarks/means.py [--seeds 2] [--write]

The default's recipe in a plain training loop, and the same with one of them (tabular/means.py), on
the developing half of the tables of benchmarks/public_tables.py, which also has its options.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import measure
from ablation import changes
from public_tables import PACKAGES, peers_python, plan, prepare, results_of, teams
from tabular import summary
from tabular.cache import OUR_SOURCES, Cache, identity_of
from tabular.catalogue import TABLES
from tabular.fits import Team, run_all
from tabular.means import MEANS, PLAIN
from tabular.targets import DEFAULT

CONTENDERS = (DEFAULT, *MEANS)


def main() -> None:
    """Fit the default and the plain loops, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="fits at a time, a thread each")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a fit")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/public_tables"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    tables = [table for table in TABLES if table.half == "dev"]
    python = peers_python(args.peers.resolve())
    prepared = prepare(tables, args.seeds, args.folder.resolve(), python)
    cache = Cache(args.folder / "results.jsonl")
    own = identity_of("benchmarks/tabular/means.py", *OUR_SOURCES)
    loops = Team(Path(sys.executable), "tabular.means", tuple(MEANS), own)
    fits = plan(tables, args.seeds, list(CONTENDERS), prepared, [*teams(python), loops])
    run_all(fits, cache, workers=args.workers, limit_s=args.limit)
    results = results_of(tables, cache, fits)
    others = [name for name in MEANS if name != PLAIN]
    body = f"{summary.standings(results, CONTENDERS)}\n\n{changes(results, PLAIN, others)}"
    note = (
        f"{len(tables)} tables, {args.seeds} seeds. Differences from the plain loop are in points "
        "of accuracy; tied: within half a point, or one standard error over the seeds. ±: a "
        "standard error of the mean over the tables."
    )
    title = "Means that the trainer doesn't have, each added to the default's recipe, the dev half"
    measure.report("means", title, body, PACKAGES, note=note, write=args.write)


if __name__ == "__main__":
    main()

"""Means that papers propose and the trainer doesn't have, each measured alone.

    python benchmarks/means.py [--seeds 2] [--write]

The default's recipe in a plain training loop, and the same with one of them (tabular/means.py), on
the developing half of the tables of benchmarks/public_tables.py, which also has its options.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ablation import changes, fit_all, parse, report
from tabular import summary
from tabular.cache import identity_of_ours
from tabular.fits import Team
from tabular.means import MEANS, PLAIN
from tabular.targets import DEFAULT

CONTENDERS = (DEFAULT, *MEANS)


def main() -> None:
    """Fit the default and the plain loops, report."""
    args = parse(__doc__)
    own = identity_of_ours("benchmarks/tabular/means.py", "benchmarks/tabular/ours.py")
    loops = Team(Path(sys.executable), "tabular.means", tuple(MEANS), own)
    results = fit_all(args, CONTENDERS, loops)
    others = [name for name in MEANS if name != PLAIN]
    body = f"{summary.standings(results, CONTENDERS)}\n\n{changes(results, PLAIN, others)}"
    title = "Means that the trainer doesn't have, each added to the default's recipe, the dev half"
    report("means", title, body, args, PLAIN)


if __name__ == "__main__":
    main()

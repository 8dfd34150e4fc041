"""Size on disk of the runtime's installation, by package, beside torch's.

Each choice of extras is installed into an environment of its own, from constraints.txt. ``--before
DIR`` installs another clone of this repository beside it, with the extras that it has.

python benchmarks/install_size.py [--before DIR] [--write]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import measure

CHECKOUT = Path(__file__).parents[1]
CHOICES = ("cpu", "cpu,serve", "cpu,serve,grpc", "cpu,serve,otel")
_MB = 1e6
_SHOWN = 6
_OF_VENV = frozenset({"_distutils_hack", "pip", "pkg_resources", "setuptools"})  # brought anyway


def install(checkout: Path, extras: str, folder: Path) -> dict[str, float]:
    """Install the runtime and weigh it.

    Args:
        checkout: the clone that is installed.
        extras: of onnxferry.
        folder: for the environment.

    Returns:
        MB by what lies in ``site-packages``, the largest first.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pins = str(checkout / "constraints.txt")
    subprocess.run([*pip, "-c", pins, f"{checkout}[{extras}]"], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    found = {path.name: weigh(path) for path in packages.iterdir() if path.name not in _OF_VENV}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def weigh(path: Path) -> float:
    """Sum the sizes of files on disk, MB."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_blocks for file in files) * 512 / _MB


def main() -> None:
    """Install, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another clone")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    clones = {".": CHECKOUT, **({args.before.name: args.before.resolve()} if args.before else {})}
    lines = ["| install | MB | of it |", "|---|---|---|"]
    for extras in CHOICES:
        for name, clone in clones.items():
            with tempfile.TemporaryDirectory() as folder:
                found = install(clone, extras, Path(folder) / "venv")
            parts = ", ".join(f"{each} {size:.1f}" for each, size in list(found.items())[:_SHOWN])
            lines.append(f"| `{name}[{extras}]` | {sum(found.values()):.1f} | {parts} |")
    torch = find_spec("torch")
    if torch and torch.origin:
        lines.append(
            f"| torch alone, as installed here | {weigh(Path(torch.origin).parent):.0f} | |"
        )
    measure.report(
        "install_size",
        "What the runtime takes on the disk",
        "\n".join(lines),
        ("onnxferry",),
        note="Everything in `site-packages` but pip and setuptools, bytecode included.",
        write=args.write,
    )


if __name__ == "__main__":
    main()

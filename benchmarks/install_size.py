"""Size on disk of the runtime's installation, by package, beside torch's.

Each choice of extras is installed into an environment of its own, from constraints.txt.

python benchmarks/install_size.py [--write]
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
CHOICES = ("cpu", "cpu,serve", "cpu,serve,grpc")
_MB = 1e6
_SHOWN = 6
_OF_VENV = frozenset({"_distutils_hack", "pip", "pkg_resources", "setuptools"})  # brought anyway


def install(extras: str, folder: Path) -> dict[str, float]:
    """Install the runtime and weigh it.

    Args:
        extras: of onnxferry.
        folder: for the environment.

    Returns:
        MB by what lies in ``site-packages``, the largest first.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pins = str(CHECKOUT / "constraints.txt")
    subprocess.run([*pip, "-c", pins, f"{CHECKOUT}[{extras}]"], check=True)
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
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    lines = ["| install | MB | of it |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for extras in CHOICES:
            found = install(extras, Path(folder) / extras)
            parts = ", ".join(f"{name} {size:.0f}" for name, size in list(found.items())[:_SHOWN])
            lines.append(f"| `.[{extras}]` | {sum(found.values()):.0f} | {parts} |")
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

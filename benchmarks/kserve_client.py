"""KServe's own client against runtime serve: the tests that need its SDK.

The SDK depends on FastAPI, Kubernetes' client and pandas 2, so it is in none of our extras. It is
installed with this checkout into an environment of its own under --peers, once (a minute). CI runs
these tests. The same environment has the tools that tests/exporter/packaging runs.

python benchmarks/kserve_client.py [--peers DIR] [--prepare] [--write]
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import measure
from serving.contenders import environment_for

CHECKOUT = Path(__file__).parents[1]
TESTS = "tests/runtime/serving/test_kserve.py"


def prepare(peers: Path) -> Path:
    """Make an environment with the SDK, this checkout, and what its tests need.

    Args:
        peers: the folder of environments.

    Returns:
        Its Python.
    """
    python = environment_for(peers, "kserve") / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ours, tools = f"{CHECKOUT}[cpu,serve,test]", CHECKOUT / "benchmarks" / "platforms.txt"
    subprocess.run([*pip, "-e", ours, "-r", str(tools)], check=True)
    (python.parent.parent / ".tools-ready").touch()  # other benchmarks make it without them
    return python


def version_of(python: Path) -> str:
    """Ask an environment for the version of its SDK."""
    asked = "from importlib.metadata import version; print(version('kserve'))"
    return subprocess.check_output([python, "-c", asked], text=True).strip()


def main() -> None:
    """Prepare, test, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--prepare", action="store_true", help="make the environment, no more")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    python = prepare(args.peers.resolve())
    if args.prepare:
        return
    pytest = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-v", "--color=no", TESTS]
    done = subprocess.run(pytest, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    found = re.findall(rf"^{re.escape(TESTS)}::(\S+) ([A-Z]+)", done.stdout, re.MULTILINE)
    if done.returncode or any(outcome != "PASSED" for _, outcome in found):
        raise SystemExit(done.stdout + done.stderr)
    lines = ["| what | |", "|---|---|", *(f"| `{name}` | {how.lower()} |" for name, how in found)]
    measure.report(
        "kserve_client",
        "KServe's client against runtime serve",
        "\n".join(lines),
        ("onnxferry",),
        note=f"`kserve.InferenceRESTClient` of the SDK {version_of(python)}, protocol v2.",
        write=args.write,
    )


if __name__ == "__main__":
    main()

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BUNDLE = Path(__file__).parent.parent / "data" / "bundle"


def test_scoring_leaves_pandas_alone(tmp_path: Path) -> None:
    """Scoring never imports pandas, good rows and bad, even where it is installed."""
    trap = tmp_path / "pandas"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit('pandas was imported')")
    table = tmp_path / "products.csv"
    table.write_text("price,rating\n8,4\nabc,3\n1e99,2\n")
    command = [sys.executable, "-m", "runtime", "predict", "--file", str(table)]
    done = subprocess.run(
        [*command, "--bundle", str(BUNDLE), "--bad-rows", "null", "--proba"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4

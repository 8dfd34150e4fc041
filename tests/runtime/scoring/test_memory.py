from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import peak_memory

HERE = Path(peak_memory.__file__).parent

# Scores a stream and tells the most memory it ever had, in MB.
COMMAND = """
import sys
from pathlib import Path
sys.path.append(sys.argv[4])
from peak_memory import peak_bytes
from runtime.predictor import Predictor
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file

predictor = Predictor(sys.argv[1], provider="cpu")
options = Options(bad_rows=sys.argv[2], threads=2)
summary = score_file(predictor, Path("-"), Path(sys.argv[3]), options)
print(summary.rows, peak_bytes() >> 20)
"""


def peak_of(megabytes: int, bundle: Path, out: Path, environment: dict[str, str]) -> int:
    """Peak resident memory, in MB, of scoring a generated stream."""
    rows = (b"x" * 180 + b",7.25,3.5\n" + b"y" * 180 + b",1,\n") * 2700  # a megabyte
    with subprocess.Popen(
        [*peak_memory.UNRELATED, sys.executable, "-c", COMMAND, bundle, "null", out, HERE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"name,price,rating\n")
        for _ in range(megabytes):
            process.stdin.write(rows)
        process.stdin.close()
        counted, peak = map(int, process.stdout.read().split())
    assert counted == 5400 * megabytes
    return peak


def test_memory_does_not_grow_with_the_table(
    bundle: Path, null_device: Path, environment: dict[str, str]
) -> None:
    """Fifteen times the input, half of it bad rows kept in place, takes hardly more memory."""
    small = peak_of(6, bundle, null_device, environment)
    large = peak_of(90, bundle, null_device, environment)
    assert large - small < 50, f"{small} MB for 6 MB of input, {large} MB for 90 MB"

"""The most memory that a process ever had, as the system counts it."""

import resource
import sys

# A process begins with the peak of the one that forked it: a shell's, not that of pytest.
UNRELATED = ("sh", "-c", '"$@"; exit $?', "sh")


def peak_bytes() -> int:
    """Peak of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

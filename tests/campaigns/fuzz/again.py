"""Judge inputs of a target in a process of its own: `python again.py TARGET FILE [plant]`; exit code 1 for a fault."""

from __future__ import annotations

import sys
from pathlib import Path

# The script's own folder is not where its modules are found, but the folder of this package is.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from campaigns.fuzz.judge import judge  # noqa: E402
from campaigns.fuzz.table import TARGETS  # noqa: E402


def main(name: str, file: str, plant: str = "-") -> int:
    """Judge one input, and print what is wrong with it."""
    target = TARGETS[name]
    for seed in target.first():  # what is imported and cached is no fault of the input
        judge(target, seed)
    fault = judge(target, Path(file).read_bytes(), plant=plant == "plant")
    if fault:
        sys.stdout.buffer.write(fault.line().encode(errors="backslashreplace") + b"\n")
    return int(fault is not None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Fuzz the readers of files, and print a line for each target: `make fuzz`. Linux, and the extra fuzz.

    python tests/campaigns/fuzz/fuzz.py [TARGET ...] [--minutes N] [--plant] [--grown FOLDER]

Inputs that reach new code are kept in .fuzz/TARGET/grown, and the next call begins with them; inputs with a fault in
.fuzz/TARGET/finds. Each of these is judged again by a process of its own. Exit code 1 if one is a fault there too; with
--plant, if a target's planted fault was not found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# The script's own folder is not where its modules are found, but the folder of this package is.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from campaigns.fuzz.table import TARGETS  # noqa: E402

_HERE, _ROOT = Path(__file__).parent, Path(__file__).resolve().parents[3]
_MOST_BYTES, _MOST_STARTS = 16_384, 50
# Of a process in which all of nnrun is instrumented; the judge counts seconds of the processor, as long as Python runs.
_HANG_SECONDS, _MOST_MEGABYTES = 10, 3_000
_LEAST_SECONDS = 2.0
# The stack that Rust prints for a panic takes memory which is not the input's.
_ENVIRONMENT = {**os.environ, "RUST_BACKTRACE": "0"}


@dataclass
class Fuzzed:
    """What came of fuzzing a target: the number of inputs, and the faults that were confirmed."""

    name: str
    num_inputs: int = 0
    seconds: float = 0.0
    num_grown: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it in one line."""
        found = f"{len(self.faults)} faults" if self.faults else "no fault"
        return f"{self.name:14} {self.num_inputs:>12,} inputs {self.seconds:7.0f} s {self.num_grown:>6,} kept   {found}"


def fuzz(name: str, seconds: float, folder: Path, *, plant: bool = False) -> Fuzzed:
    """Fuzz a target for some time, and judge again what was found."""
    grown, finds = folder / name / "grown", folder / name / "finds"
    if plant:
        shutil.rmtree(finds, ignore_errors=True)  # a planted fault is to be found each time
    for each in (grown, finds):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].first()):
        (grown / f"seed{number}").write_bytes(seed)
    words = "".join(f'"{_escaped(word)}"\n' for word in TARGETS[name].words)
    (folder / name / "words").write_text(words, encoding="ascii")
    result, start = Fuzzed(name), time.monotonic()
    for _ in range(_MOST_STARTS):
        left = seconds - (time.monotonic() - start)
        if result.num_inputs and left < _LEAST_SECONDS:
            break
        result.num_inputs += _run(name, max(1, round(left)), folder / name, plant=plant)
        if plant and any(finds.iterdir()):
            break
    result.seconds = time.monotonic() - start
    result.num_grown = sum(1 for _ in grown.iterdir())
    for found in sorted(path for path in finds.iterdir() if path.suffix != ".txt"):
        if said := _again(name, found, plant=plant):
            result.faults.append(f"{found}: {said}")
        else:
            found.unlink()
            found.with_suffix(".txt").unlink(missing_ok=True)
    return result


def _run(name: str, seconds: int, folder: Path, *, plant: bool) -> int:
    """Run one process of atheris; return how many inputs it tried."""
    words = [
        str(_HERE / "worker.py"),
        name,
        str(folder / "finds"),
        "plant" if plant else "-",
        "--",
        str(folder / "grown"),
    ]
    options = {
        "artifact_prefix": f"{folder / 'finds'}/",
        "max_len": _MOST_BYTES,
        "max_total_time": seconds,
        "timeout": _HANG_SECONDS,
        "rss_limit_mb": _MOST_MEGABYTES,
        "print_final_stats": 1,
        "report_slow_units": 1000,
        # libFuzzer refuses an empty list.
        **({"dict": folder / "words"} if TARGETS[name].words else {}),
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", *words, *(f"-{key}={value}" for key, value in options.items())],
        capture_output=True,
        check=False,
        env=_ENVIRONMENT,
    )
    said = process.stderr.decode(errors="replace")
    counts = re.findall(r"^(?:#(\d+)\s|stat::number_of_executed_units:\s+(\d+))", said, re.MULTILINE)
    if not counts:
        raise SystemExit(f"fuzz: the process of {name} ended with {process.returncode}: {said[-2000:]}")
    return max(int(before or after) for before, after in counts)


def _again(name: str, found: Path, *, plant: bool) -> str:
    """Judge an input once more in a process of its own, without atheris; return what is wrong."""
    words = [sys.executable, "-W", "ignore", str(_HERE / "again.py"), name, str(found), "plant" if plant else "-"]
    try:
        process = subprocess.run(words, capture_output=True, check=False, timeout=60, env=_ENVIRONMENT)
    except subprocess.TimeoutExpired:
        return "hangs"
    if process.returncode not in (0, 1):
        return f"ends the process with {process.returncode}: {process.stderr.decode(errors='replace')[-300:]}"
    return process.stdout.decode(errors="replace").strip()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> int:
    """Fuzz the targets named, or all of them one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together, 10 by default")
    parser.add_argument("--plant", action="store_true", help="plant a fault behind each reader, which must be found")
    parser.add_argument("--grown", type=Path, default=_ROOT / ".fuzz", help="where inputs are kept")
    arguments = parser.parse_args()
    names = arguments.names or list(TARGETS)
    num_inputs = num_bad = 0
    start = time.monotonic()
    for name in names:
        folder = arguments.grown / "planted" if arguments.plant else arguments.grown
        result = fuzz(name, arguments.minutes * 60 / len(names), folder, plant=arguments.plant)
        print(result.line(), flush=True)
        for fault in result.faults:
            print(f"  {fault}", flush=True)
        num_inputs += result.num_inputs
        num_bad += bool(result.faults) is not arguments.plant
    what = "planted faults were not found" if arguments.plant else "targets with a fault"
    print(f"{num_inputs:,} inputs in {time.monotonic() - start:.0f} s; {num_bad} {what}")
    return int(num_bad > 0)


if __name__ == "__main__":
    sys.exit(main())

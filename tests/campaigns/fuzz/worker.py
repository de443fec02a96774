"""One process of atheris, which fuzzes one target: `python worker.py TARGET FINDS PLANT -- LIBFUZZER'S WORDS`.

An input with a fault is kept in the folder FINDS, one for each fault, and fuzzing goes on. What ends or hangs the
process is kept by libFuzzer, and the caller starts another.
"""

from __future__ import annotations

import contextlib
import hashlib
import resource
import sys
from pathlib import Path

import atheris

# The script's own folder is not where its modules are found, but the folder of this package is.
sys.path[0] = str(Path(__file__).resolve().parents[2])

# Only nnrun is instrumented: coverage of libraries is not what leads to nnrun's own mistakes.
with atheris.instrument_imports(include=["nnrun"], enable_loader_override=False):
    from campaigns.fuzz.judge import Fault, judge
    from campaigns.fuzz.table import TARGETS

# An allocation beyond this is a MemoryError, and a fault. libFuzzer itself reserves some gigabytes.
_SPARE_BYTES = 2**35


def main(name: str, finds: str, plant: str, words: list[str]) -> None:
    """Fuzz a target until libFuzzer has enough."""
    target, folder, seen = TARGETS[name], Path(finds), set[str]()
    for seed in target.first():
        if fault := judge(target, seed):
            _keep(folder, seed, fault)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE_BYTES, resource.RLIM_INFINITY))

    def one(content: bytes) -> None:
        fault = judge(target, content, plant=plant == "plant")
        if fault is not None and (key := f"{fault.kind} {fault.place}") not in seen:
            seen.add(key)
            if plant == "plant":
                raise AssertionError("the planted fault is found")  # libFuzzer keeps it, and ends
            _keep(folder, content, fault)

    atheris.Setup([sys.argv[0], *words], one)
    atheris.Fuzz()


def _keep(folder: Path, content: bytes, fault: Fault) -> None:
    """Keep an input under the hash of its fault, and what was said beside it."""
    name = hashlib.sha256(f"{fault.kind} {fault.place}".encode()).hexdigest()[:12]
    (folder / name).write_bytes(content)
    (folder / f"{name}.txt").write_text(fault.line() + "\n", encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[5:])

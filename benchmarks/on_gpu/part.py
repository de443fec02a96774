"""Measure parts in this process, and write a line of JSON for each row as soon as it is known.

python -m on_gpu.part waits --device cuda --out OUT [--root DIR] [--dry]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from on_gpu import bits, graphs, kinds, machine_parts, ranks, savings, speed, waiting
from on_gpu.place import Part, Place

PARTS: dict[str, Part] = {
    "versions": machine_parts.versions,
    "waits": waiting.waits,
    "steps": waiting.steps,
    "resume": bits.resumed,
    "tf32": bits.tf32,
    "first-step": machine_parts.first_step,
    "residency": bits.residency,
    "saves": machine_parts.saves,
    "memory": machine_parts.memory,
    "ranks": ranks.ranks,
    "kinds": kinds.kinds,
    "graph": graphs.graph,
    "evaluation": savings.evaluation,
    "recompute": savings.recompute,
    "speed": speed.speed,
    "kernels": speed.kernels,
    "compile": bits.compiled,
}


def measure(name: str, place: Place, out: Path) -> bool:
    """Measure a part; return whether it finished. A failure is a row too."""
    rows: list[str] = []
    with (out / f"{name}.jsonl").open("w", encoding="utf-8") as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

        try:
            start = time.perf_counter()
            for row, figures in PARTS[name](place):
                seconds = round(time.perf_counter() - start, 3)
                write({"row": row, **figures, "took": seconds})
                rows.append(row)
                start = time.perf_counter()
        except Exception as error:
            after = f"after {rows[-1]!r}" if rows else "at its beginning"
            write({"row": "FAILED", "error": f"{after}: {type(error).__name__}: {error}"[:600]})
            return False
    return True


@dataclass(frozen=True)
class Options:
    """The command line's settings."""

    parts: list[str]
    device: str
    out: Path
    root: Path | None
    dry: bool


def parse() -> Options:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--dry", action="store_true")
    return Options(**vars(parser.parse_args()))


def run(parts: Sequence[str], options: Options) -> int:
    """Measure parts; return 1 if one failed."""
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device(options.device)
    all_ended = True
    for name in parts:
        with tempfile.TemporaryDirectory(prefix=f"nnrun-{name}-", ignore_cleanup_errors=True) as folder:
            place = Place(device, Path(folder), options.root, options.dry)
            all_ended = measure(name, place, options.out) and all_ended
    return 0 if all_ended else 1


if __name__ == "__main__":
    given = parse()
    sys.exit(run(given.parts, given))

"""Write docs/gpu.md from the results of the parts. Needs only the standard library: it must work whatever failed."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from on_gpu.headline import headline

TEMPLATE = Path(__file__).with_name("page.md")
TITLES = {
    "versions": "Versions, and what the doctor finds",
    "waits": "Where a step waits for the device",
    "steps": "Microseconds and launches per step",
    "resume": "A resumed run has the same bits",
    "tf32": "TF32 on and off, against fp64",
    "saves": "Saves",
    "graph": "The step as one CUDA graph, and the time to 99 %",
    "evaluation": "An evaluation as CUDA graphs",
    "recompute": "Activations that are computed again",
    "speed": "Speed",
    "first-step": "What comes before the second step",
    "residency": "Samples on the device, in memory, streamed",
    "kernels": "cuDNN's benchmark",
    "ranks": "Several processes",
    "kinds": "Tables, texts, and networks of several inputs",
    "memory": "Out of memory",
    "compile": "Compiled networks",
}
NOTES = {
    "waits": "Found by torch's synchronization debug mode, and by the profiler, whose own wait is the 0.2 a step.",
    "steps": "Batch size 64, Adam. Bare is the step alone, on one batch that is already on the device.",
    "graph": "Batch size 64, Adam. MB are the peak of the reserved memory, without the samples.",
    "evaluation": "Batches of 500 in fp32. The first captured one is made eagerly, recorded and compared. MB as above.",
    "recompute": "MB are the peak of the reserved memory, MB used that of tensors, both without the samples.",
    "compile": "Batch size 64, Adam. The seconds are those of the whole row, compiling included.",
    "speed": "MNIST, batch size 64, Adam. Runs of about 500 steps; captured ones include recording and checking.",
    "saves": "A ResNet-18 with Adam and an average of its weights. Training waits for `finite` and `ask for copy`.",
}
# What a part's figures depend on.
_WHERE = ("device", "versions", "commit", "day")
# Rows that say more about the machine's surroundings than about the figures.
_HIDDEN = ("packages", "system", "disk")


def about() -> dict[str, str]:
    """Return what a part's figures depend on: the GPU, the versions, the commit and the day."""
    versions = f"Python {platform.python_version()}"
    for name in ("torch", "torchvision"):
        try:
            versions += f", {name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            versions += f", no {name}"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    commit = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    said = {"device": _output(query), "versions": versions, "commit": _output(commit) or "unknown"}
    return said | {"day": date.today().isoformat()}


def write_page(path: Path, out: Path, parts: list[str], command: str) -> dict[str, bool]:
    """Write the page; return for each part that was run whether it finished without a failed row."""
    found = {name: part for name in parts if (part := _read(out / f"{name}.json")) is not None}
    first: dict[str, Any] = next(iter(found.values()), {})
    where = _where(found)
    lines = ["## The figures", "", f"Made by `{command}`; {where}.", ""]
    for name in parts:
        lines += [f"### {TITLES[name]}", ""]
        if name not in found:
            lines += ["Not measured.", ""]
            continue
        part = found[name]
        other = [f"{key} {part[key]}" for key in _WHERE if part.get(key) and part[key] != first.get(key)]
        notes = [f"{NOTES[name]}\n"] if name in NOTES else []
        lines += ["; ".join([f"{part['seconds']} s", part["ended"], *other]) + ".", "", *notes, *_table(part["rows"])]
        lines += [""]
    rows = {name: {row["row"]: row for row in part["rows"]} for name, part in found.items()}
    text = TEMPLATE.read_text(encoding="utf-8").replace("{headline}", headline(rows, where))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{figures}", "\n".join(lines)), encoding="utf-8")
    return {name: bool(part["ok"]) and not part["failed_rows"] for name, part in found.items()}


def _where(found: dict[str, Any]) -> str:
    """Return the devices, the versions, the commits and the days of all parts."""
    device, versions, commit, day = (
        " and ".join(dict.fromkeys(part[key] for part in found.values() if part.get(key))) for key in _WHERE
    )
    rows = {row["row"]: row for row in found.get("versions", {}).get("rows", [])}
    cuda = rows.get("nvidia-smi", {})
    versions += f", CUDA {cuda['cuda']}, cuDNN {cuda['cudnn']}" if cuda.get("cuda") else ""
    device = device or "no GPU: a dry run on a CPU, whose figures mean nothing"
    return f"{device}; {versions}; commit {commit}; {day}"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as a table of Markdown, a column for each figure."""
    rows = [row for row in rows if row["row"] not in _HIDDEN]
    if not rows:
        return ["No rows."]
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("row", "took")))
    lines = [f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [_cell(row.get(column, "")) for column in columns]
        lines.append(f"| {_cell(row['row'])} | {' | '.join(cells)} |")
    return lines


def _cell(value: Any) -> str:
    """Return a value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    # Without the places of files, which are this machine's own.
    return re.sub(r" \(/[^)]*\)", "", str(value)).replace("|", "/").replace("\n", " ")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _output(command: list[str]) -> str:
    """Return what a command prints, or nothing if it fails or is not here."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""Write docs/gpu.md from the results of the parts. Needs only the standard library: it must work whatever failed."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

TITLES = {
    "versions": "Versions, and what the doctor finds",
    "waits": "Where a step waits for the device",
    "steps": "Microseconds and launches per step",
    "resume": "A resumed run has the same bits",
    "tf32": "TF32 on and off, against fp64",
    "first-step": "What comes before the second step",
    "residency": "Samples on the device, in memory, streamed",
    "kernels": "cuDNN's benchmark and the memory layout",
    "saves": "Saves",
    "memory": "Out of memory",
    "speed": "Speed, and the time to 99 %",
    "compile": "Compiled networks",
}


def write_page(path: Path, out: Path, parts: list[str], command: str) -> dict[str, bool]:
    """Write the page; return for each part that was run whether it finished without a failed row."""
    found = {name: part for name in parts if (part := _read(out / f"{name}.json")) is not None}
    lines = ["# On a GPU", "", f"Made by `{command}`; {_where(found)}", ""]
    for name in parts:
        lines += [f"## {TITLES[name]}", ""]
        if name not in found:
            lines += ["Not measured.", ""]
            continue
        part = found[name]
        lines += [f"{part['seconds']} s; {part['ended']}.", "", *_table(part["rows"]), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return {name: bool(part["ok"]) and not part["failed_rows"] for name, part in found.items()}


def _where(found: dict[str, Any]) -> str:
    """Return the device, the versions and the day."""
    rows = {row["row"]: row for row in found.get("versions", {}).get("rows", [])}
    device = rows.get("nvidia-smi", {}).get("says") or "no GPU: a dry run on a CPU, whose figures mean nothing"
    versions = f"Python {platform.python_version()}"
    for name in ("torch", "torchvision"):
        try:
            versions += f", {name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            versions += f", no {name}"
    cuda = rows.get("nvidia-smi", {})
    versions += f", CUDA {cuda['cuda']}, cuDNN {cuda['cudnn']}" if cuda.get("cuda") else ""
    return f"{device}; {versions}; commit {_commit()}; {date.today().isoformat()}."


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as a table of Markdown, a column for each figure."""
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
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value).replace("|", "/").replace("\n", " ")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _commit() -> str:
    """Return the commit of the source, if git knows it."""
    try:
        here = str(Path(__file__).parent)
        done = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"

"""The first paragraphs of docs/gpu.md: what the figures say, each sentence computed from the rows it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]


def headline(rows: Mapping[str, Rows], where: str) -> str:
    """Return what was found on this machine, as a list; `rows` has the rows of each part by name."""
    said = [
        _waits(rows.get("waits", {})),
        _bits(rows.get("resume", {}), rows.get("residency", {})),
        _exact(rows.get("tf32", {})),
        _steps(rows.get("steps", {})),
        _captured(rows.get("graph", {})),
        _saves(rows.get("saves", {})),
        _memory(rows.get("memory", {})),
    ]
    found = "\n".join(f"- {sentence}" for sentence in said if sentence) or "- Nothing was measured."
    return f"What was measured, once, on one machine ({where}); another GPU or processor gives other times:\n\n{found}"


def _waits(rows: Rows) -> str:
    looked = {name: row for name, row in rows.items() if "waits_at" in row}
    waiting = [name for name, row in looked.items() if row["waits_at"] != "nowhere"]
    failed = _names([name for name, row in rows.items() if "error" in row])
    if not looked:
        return ""
    found = f"with these settings a step waits: {_names(waiting)}" if waiting else "no step waits for the device"
    errors = f" These failed, with the errors below: {failed}." if failed else ""
    return f"In {len(looked)} settings {found}.{errors}"


def _bits(resumed: Rows, places: Rows) -> str:
    good = [row.get("same_bits") and row.get("another_seed_differs") for row in resumed.values()]
    if not good:
        return ""
    same = f"In {sum(map(bool, good))} of {len(good)} networks and settings a stopped and resumed run has the bits of "
    same += "an uninterrupted one (`trainer.deterministic=true`)."
    if len(places) == 3 and all(row.get("bits_as_from_device") for row in places.values()):
        same += " Samples in the host's memory and streamed ones give the same bits as samples on the device."
    return same


def _exact(rows: Rows) -> str:
    errors = {name: row.get("largest_relative_error") for name, row in rows.items()}
    exact, cpu, short = (errors.get(f"resnet18, {name}") for name in ("TF32 off", "fp32 on the CPU", "TF32 on"))
    if None in (exact, cpu, short):
        return ""
    return (
        f"fp32 is exact: the scores of a ResNet-18 have a relative error of {exact:.0e}, against fp64 (on a CPU "
        f"{cpu:.0e}; with TF32 {short:.0e})."
    )


def _steps(rows: Rows) -> str:
    ours, bare = rows.get("cnn bf16, nnrun", {}), rows.get("cnn bf16, bare", {})
    if not ours.get("launches_a_step") or not bare.get("launches_a_step"):
        return ""
    launch = bare["microseconds"] / bare["launches_a_step"]
    our_ms, bare_ms = (row["microseconds"] / 1000 for row in (ours, bare))
    return (
        f"A step of the tutorials' CNN in bf16 takes {our_ms:.1f} ms and {ours['launches_a_step']:.0f} kernel "
        f"launches; a bare step, without data or metrics, {bare_ms:.1f} ms and "
        f"{bare['launches_a_step']:.0f}. That is {launch:.0f} microseconds for each launch: this machine is limited by "
        "its processor's launches, not by the GPU."
    )


def _captured(rows: Rows) -> str:
    ours, eager = (rows.get(f"cnn bf16, nnrun, {name}", {}).get("microseconds") for name in ("captured", "eager"))
    if not ours or not eager:
        return ""
    return f"Launched as one CUDA graph, the same step takes {ours / 1000:.2f} ms instead of {eager / 1000:.2f}."


def _saves(rows: Rows) -> str:
    row = rows.get("second save", {})
    if not row.get("bytes"):
        return ""
    wait = row["ask_for_copy_ms"] + row["finite_ms"]
    return f"A save of a ResNet-18 with Adam ({row['bytes'] / 1e6:.0f} MB) stops the training for {wait:.0f} ms."


def _memory(rows: Rows) -> str:
    full, after = rows.get("too large a batch", {}), rows.get("the next run", {})
    if full.get("exit_code") != 5 or after.get("state") != "finished":
        return ""
    return "A batch that is too large ends with exit code 5 and advice, and the next run works."


def _names(names: Sequence[str]) -> str:
    return "; ".join(names)

"""The sections of a report on a run's exports, with their proof, and on its time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nnrun.base.shown import Section, Shown, Table, Text, counted, metric_text
from nnrun.runs.summary import PARTS
from nnrun.tasks.report.read import RunRead, is_number, mapping

# Less than this is shown as 0.
_LEAST_SHOWN = 0.005


def section_exports(run: RunRead) -> Section:
    """Return each artifact with its verification against the network."""
    artifacts = {str(name): mapping(row) for name, row in mapping(run.summary.get("artifacts")).items()}
    if not artifacts:
        return Section("Exports", [Text("", "The run exported nothing; nnrun export=onnx ckpt=RUN does.")])
    columns = ("format", "file", "verified", "samples that agree", "largest difference", "main metric", "size")
    rows = [
        (
            name,
            row.get("path") or "",
            "yes" if row.get("ok") else "rejected",
            _share(row.get("agreement"), row.get("num_samples")),
            _number(row.get("max_abs_diff"), ".1e"),
            _beside(row, "metric_artifact", "metric_eager", metric_text),
            _size(row.get("size_bytes")),
        )
        for name, row in artifacts.items()
    ]
    shown: list[Shown] = [Table("Verification", columns, rows)]
    if any(is_number(row.get("latency_ms_batch_1")) for row in artifacts.values()):
        speed = [
            (
                name,
                _beside(row, "latency_ms_batch_1", "latency_ms_batch_1_eager", "{:.2f} ms".format),
                _beside(row, "samples_per_second", "samples_per_second_eager", "{:,.0f}".format),
            )
            for name, row in artifacts.items()
        ]
        shown.append(Table("Speed", ("format", "latency of one sample", "samples/s"), speed))
    notes = [
        f"{name}: {text}"
        for name, row in artifacts.items()
        for text in (*([row["reason"]] if row.get("reason") else []), *_list(row.get("notes")))
    ]
    shown += [Text("", note) for note in notes]
    return Section("Exports", shown)


def section_cost(run: RunRead) -> Section:
    """Return the time of each part of the run, its speed, and the peak of its memory."""
    shown: list[Shown] = []
    seconds = run.summary.get("wall_seconds")
    if parts := time_by_part(run):
        whole = max(seconds if is_number(seconds) else 0.0, sum(parts.values()), 1e-9)
        rest = whole - sum(parts.values())
        spent = [(PARTS.get(part, part), value) for part, value in parts.items()]
        spent += [("the rest", rest)] if rest >= _LEAST_SHOWN else []
        rows = [(part, _seconds(value), f"{value / whole:.0%}") for part, value in spent]
        shown.append(Table("Time", ("part", "seconds", "share"), rows, f"slowest: {slowest(parts)}"))
    facts: list[tuple[str, str]] = []
    if is_number(seconds):
        since = " since it was last resumed" if run.status.get("resumed") else ""
        facts.append(("in all", f"{_seconds(seconds)} s{since}"))
    facts += [*_speed(mapping(run.summary.get("train"))), *_memory(run)]
    if facts:
        shown.append(Table("Speed and memory", (), facts))
    return Section("Time and memory", shown or [Text("", "The run's files do not say how long it took.")])


def time_by_part(run: RunRead) -> dict[str, float]:
    """Return the seconds of each part of a run; a run of an earlier version knows fewer parts."""
    found = {name: value for name, value in mapping(run.summary.get("time")).items() if is_number(value)}
    if found:
        return found
    train, artifacts = mapping(run.summary.get("train")), mapping(run.summary.get("artifacts"))
    exports = [mapping(row).get("seconds") for row in artifacts.values()]
    known = {"training": train.get("seconds"), "checkpoints": train.get("checkpoint_seconds")}
    known |= {"exports": sum(filter(is_number, exports))} if exports else {}
    return {name: value for name, value in known.items() if is_number(value)}


def slowest(parts: Mapping[str, float]) -> str:
    """Return the part that took longest, in words."""
    name = max(parts, key=lambda part: parts[part])
    return f"{PARTS.get(name, name)}, {_seconds(parts[name])} s"


def _speed(train: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how far and how fast the run trained."""
    if is_number(train.get("steps")) and is_number(train.get("epochs")):
        yield "trained", f"{counted(train['steps'], 'step')}, {counted(train['epochs'], 'epoch')}"
    if is_number(train.get("samples_per_second")):
        yield "training speed", f"{train['samples_per_second']:,.0f} samples/s (the steps alone)"
    if is_number(train.get("checkpoint_background_seconds")):
        yield "checkpoints written in the background", f"{_seconds(train['checkpoint_background_seconds'])} s"
    if train.get("skipped_updates"):
        yield "skipped updates", f"{train['skipped_updates']:,} whose loss or gradients were NaN or infinite"


def _memory(run: RunRead) -> Iterator[tuple[str, str]]:
    """Yield the peaks of the memory."""
    memory = mapping(run.summary.get("memory"))
    for key, what in (("peak_bytes", "peak memory of the process"), ("device_peak_bytes", "peak memory of the device")):
        if is_number(memory.get(key)):
            yield what, f"{memory[key] / 1e6:,.0f} MB"


def _seconds(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _share(agreement: object, number: object) -> str:
    """Return how many samples agree, as a share of how many."""
    if not is_number(agreement) or not is_number(number):
        return ""
    return f"{agreement:.2%} of {number:,}"


def _beside(row: Mapping[str, Any], key: str, eager_key: str, form: Callable[[float], str]) -> str:
    """Return a value of an artifact, with that of the network in PyTorch."""
    ours, eager = row.get(key), row.get(eager_key)
    return "" if not is_number(ours) else form(ours) + (f" (PyTorch {form(eager)})" if is_number(eager) else "")


def _number(value: object, form: str) -> str:
    return format(value, form) if is_number(value) else ""


def _size(value: object) -> str:
    return f"{value / 1e6:.2f} MB" if is_number(value) else ""  # type: ignore[operator]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

"""`trainer.profile`: torch's profiler over a few steps, a trace for Perfetto, and what limits the speed."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from nnrun.base.files import DurableFile, saving, write_json
from nnrun.base.shown import counted
from nnrun.core.device import is_gpu, wait_for
from nnrun.core.laps import Laps
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.bottleneck import Spent, bound_by
from nnrun.runs.console import Console

FOLDER = "profile"
SCHEMA = 1
# Steps before the profiled ones, in which kernels are chosen and memory is reserved; and the profiled steps.
_WARMUP_STEPS, _NUM_STEPS = 5, 3
_NUM_OPERATIONS = 10
# A larger trace is not kept.
_MOST_BYTES = 20 * 2**20
# What a trace has besides its events: the rest names paths of this machine.
_KEPT = ("schemaVersion", "displayTimeUnit", "baseTimeNanoseconds", "traceEvents")


class Profiling(Callback):
    """Profile three steps after the first few, and report at the end of the training.

    Writes `profile/trace.json.gz` and `profile/profile.json` into the run directory. No shapes, source lines or stacks
    are recorded; the training's results do not change.
    """

    def __init__(self, run: Path, total_steps: int, laps: Laps, console: Console, *, is_streamed: bool) -> None:
        self._folder = run / FOLDER
        self._total_steps = total_steps
        self._laps = laps
        self._say, self._record = console.say, console.record
        self._is_streamed = is_streamed
        self._state: TrainState | None = None
        self._first = self._last = 0
        self._profile: Any = None
        self._operations: list[dict[str, Any]] = []
        self._busy: float | None = None
        self._microseconds = 0.0

    def on_fit_start(self, state: TrainState) -> None:
        """Choose the steps: after the first ones of this process, earlier in a short run."""
        at = state.progress.step
        left = self._total_steps - at
        self._first = at + 1 + min(_WARMUP_STEPS, max(left - _NUM_STEPS, 0))
        self._last = min(self._first + _NUM_STEPS - 1, self._total_steps)
        self._state = state

    def mark(self, part: str) -> None:
        """Start the profiler where its first step begins; time the steps after the profiled ones on a GPU."""
        if self._state is None or part != "begin":
            return
        step, device = self._state.progress.step + 1, self._state.device
        if self._last < step <= self._last + _NUM_STEPS:
            self._laps.is_armed = True
        if step == self._first and self._state.world.is_first:
            wait_for(device)
            # Otherwise it prints when it starts and stops, and that there is no GPU.
            os.environ.setdefault("KINETO_LOG_LEVEL", "6")
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu(device) else [])]
            self._profile = profile(activities=activities)
            self._profile.start()

    def joins_update(self, state: TrainState) -> bool:
        """Join the updates that are measured."""
        return self._profile is not None or self._laps.is_armed

    def on_step_end(self, state: TrainState) -> None:
        """Stop the profiler after its last step, and write the trace. Waits for the device."""
        if self._profile is None or state.progress.step < self._last:
            return
        wait_for(state.device)
        self._profile.stop()
        found, self._profile = self._profile, None
        self._take(found, state)
        self._folder.mkdir(exist_ok=True)
        self._write_trace(found)

    def _take(self, found: Any, state: TrainState) -> None:
        """Take from a profile what the report needs."""
        on_gpu, host = is_gpu(state.device), torch.autograd.DeviceType.CPU
        everything = list(found.key_averages())
        # A kernel's time is counted for the operation that launched it, and once more for itself.
        averages = [each for each in everything if each.device_type == host]
        times = {each.key: (each.self_device_time_total if on_gpu else each.self_cpu_time_total) for each in averages}
        on_device = sum(each.self_device_time_total for each in everything if each.device_type != host)
        total = (on_device if on_gpu else sum(times.values())) or 1.0
        costly = sorted(averages, key=lambda each: -times[each.key])[:_NUM_OPERATIONS]
        steps = self._last - self._first + 1
        self._operations = [
            {
                "name": each.key,
                "calls_per_step": each.count / steps,
                "ms_per_step": times[each.key] / 1000 / steps,
                "share": times[each.key] / total,
            }
            for each in costly
        ]
        if on_gpu:
            events = [event for event in found.events() if event.device_type == host]
            wall = max((event.time_range.end for event in events), default=0) - min(
                (event.time_range.start for event in events), default=0
            )
            self._busy = min(on_device / wall, 1.0) if wall else None
        # Operations that call no others: their own time is most of their time.
        leaves = [each for each in averages if each.self_cpu_time_total > 0.5 * each.cpu_time_total]
        self._microseconds = sum(each.self_cpu_time_total for each in leaves) / (
            sum(each.count for each in leaves) or 1
        )

    def _write_trace(self, found: Any) -> None:
        """Write the trace without what it says about the machine's files."""
        path = self._folder / "trace.json.gz"
        raw = self._folder / "trace.json.part"
        try:
            found.export_chrome_trace(str(raw))
            trace = json.loads(raw.read_text(encoding="utf-8", errors="replace"))
        finally:
            raw.unlink(missing_ok=True)
        content = gzip.compress(json.dumps({key: trace[key] for key in _KEPT if key in trace}).encode(), 6, mtime=0)
        if len(content) > _MOST_BYTES:
            self._say(f"the trace of the profile is not kept: {len(content) / 2**20:.0f} MiB")
            return
        with saving(path), DurableFile(self._folder) as file:
            file.write(content)
            file.commit(path.name)

    def on_fit_end(self, state: TrainState) -> None:
        """Report what limits the speed."""
        if not self._operations:
            if state.world.is_first:
                self._say("nothing was profiled (trainer.profile=true): no step was left to train")
            return
        self._laps.read()
        clock, timed = state.clock, sum(self._laps.seconds.values())
        whole = clock.seconds + clock.validation_seconds + clock.saving_seconds
        spent = Spent(
            evaluation=clock.validation_seconds / whole if whole else 0.0,
            data=self._laps.seconds["data"] / timed if timed else 0.0,
            busy=self._busy,
            microseconds=self._microseconds,
            precision=state.precision.name,
            is_streamed=self._is_streamed,
        )
        bound, text = bound_by(spent)
        self._record(f"the {counted(len(self._operations), 'costliest operation')} of a step, of their own time:")
        for each in self._operations:
            self._record(
                f"  {each['name']:<50} {each['ms_per_step']:9.3f} ms {each['share']:6.1%} "
                f"{each['calls_per_step']:7.0f} calls"
            )
        report = {
            "steps": [self._first, self._last],
            "bound_by": bound,
            "advice": text,
            "evaluation_share": spent.evaluation,
            "data_share": spent.data,
            "busy_share": spent.busy,
            "operations": self._operations,
        }
        write_json(self._folder / "profile.json", report, SCHEMA)
        self._say(f"profile of steps {self._first} to {self._last}: {text}")

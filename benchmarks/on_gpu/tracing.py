"""Trace the host during some steps: how many kernels it launches, and where it waits for the device."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from on_gpu.trainings import Setup, Window, run_window

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaGraphLaunch")
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy")


class Tracer:
    """Count launches and waits from `begin` to `end`; on a CPU, torch's operations in place of launches."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._profile = profile(activities=activities)
        self._is_on = False
        self.names: list[str] = []

    def begin(self) -> None:
        """Start."""
        if self._on_gpu:
            torch.cuda.synchronize()
        self._profile.__enter__()
        self._is_on = True

    def close(self) -> None:
        """Stop, if that has not been done."""
        if self._is_on:
            self._is_on = False
            self._profile.__exit__(None, None, None)

    def end(self) -> None:
        """Stop, and keep what was traced."""
        self.close()
        self.names = [event.name for event in self._profile.events() or []]

    def counts(self, steps: int) -> dict[str, Any]:
        """Return the counts per step; one or two of all waits belong to the tracing itself."""
        if not self._on_gpu:
            return {"operations_a_step": sum(name.startswith("aten::") for name in self.names) / steps}
        launches = sum(name.startswith(_LAUNCHES) for name in self.names)
        return {
            "launches_a_step": launches / steps,
            "waits_a_step": sum(name in _WAITS for name in self.names) / steps,
            "pageable_copies_a_step": sum("Pageable" in name for name in self.names) / steps,
        }


def trace(setup: Setup, device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Return the launches and waits of a training's steps."""
    tracer = Tracer(device)
    run_window(setup, device, Window(warmup, steps, tracer.begin, tracer.end))
    return tracer.counts(steps)


def trace_calls(call: Callable[[], None], device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Return the launches and waits of calls."""
    for _ in range(warmup):
        call()
    tracer = Tracer(device)
    tracer.begin()
    for _ in range(steps):
        call()
    tracer.end()
    return tracer.counts(steps)


def look(setup: Setup, device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Return where the host first waits for the device in a training's steps, and their launches and waits.

    torch reports the first wait as an error, which ends the training; then the launches are unknown.
    """
    tracer = Tracer(device)

    def watch(mode: str) -> None:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode(mode)

    def begin() -> None:
        tracer.begin()
        watch("error")

    def end() -> None:
        watch("default")
        tracer.end()

    try:
        run_window(setup, device, Window(warmup, steps, begin, end))
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if "synchroniz" not in str(cause):
            raise
        frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if "nnrun" in frame.filename]
        places = (f"{frame.filename.rpartition('nnrun/')[2]}:{frame.lineno}" for frame in reversed(frames[-3:]))
        return {"waits_at": " < ".join(places)}
    finally:
        watch("default")
        tracer.close()
    return {"waits_at": "nowhere", **tracer.counts(steps)}

"""The machine, its first step, saves, and running out of memory."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.host_copy import HostCopy
from nnrun.core.nonfinite import are_finite
from nnrun.tasks.doctor.machine import look_at_machine
from on_gpu.bits import SMALL
from on_gpu.place import Place, Row
from on_gpu.runs import read, run, train
from on_gpu.trainings import Setup, Window, bare_step, run_window

HERE = Path(__file__).resolve().parent.parent


def versions(place: Place) -> Iterator[Row]:
    """Versions, the driver, and each device in each number format."""
    if place.on_gpu:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        yield "nvidia-smi", {"says": said, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    for found in look_at_machine(place.folder):
        yield found.what, {"state": found.state, "detail": found.detail}


def first_step(place: Place) -> Iterator[Row]:
    """The time before the second step: the process, the device, cuDNN, the first step."""
    start = time.perf_counter()
    on_device = torch.ones(8, device=place.device) * 2
    if place.on_gpu:
        torch.cuda.synchronize()
    yield "the device's first kernel", {"seconds": time.perf_counter() - start, "sum": float(on_device.sum())}
    step = bare_step("cnn", place.device, "bf16")
    for name in ("first step", "second step", "third step"):
        start = time.perf_counter()
        step()
        if place.on_gpu:
            torch.cuda.synchronize()
        yield f"bare, {name}", {"seconds": time.perf_counter() - start}
    if place.dry:
        return
    words = [
        "data=digits",
        "model=cnn",
        "trainer.max_steps=2",
        "export=none",
        f"hydra.run.dir={place.folder / 'first'}",
    ]
    command = [sys.executable, "-m", "nnrun", *words, f"trainer.device={place.device}"]
    subprocess.run(command, cwd=place.folder, capture_output=True, check=True)
    yield (
        "nnrun, from its process to its first step",
        {"seconds": read(place.folder / "first" / "status.json")["first_step_seconds"]},
    )
    script = [sys.executable, str(HERE / "bare_first_step.py"), "--device", place.device.type, "--spawned-at"]
    done = subprocess.run([*script, repr(time.time())], cwd=place.folder, capture_output=True, text=True, check=True)
    yield "a bare script, the same", {"says": done.stdout.strip()}


def saves(place: Place) -> Iterator[Row]:
    """The time of saving a ResNet-18 with Adam, and whether plain torch can read the file without a device."""
    setup = replace(Setup(network="cnn" if place.dry else "resnet18"), ema=True)
    state = run_window(setup, place.device, Window(1, 1, lambda: None, lambda: None))
    payload: Any = {"model": state.evaluated.state_dict(), "training": state.state_dict()}
    host_copy = HostCopy()
    for turn in ("first", "second", "third"):
        times = [time.perf_counter()]
        are_finite(state.network.state_dict().values())
        times.append(time.perf_counter())
        on_host = host_copy.take(payload)
        times.append(time.perf_counter())
        host_copy.wait()
        times.append(time.perf_counter())
        path = CheckpointFolder(place.folder / turn, 2).save(on_host, 1, is_best=True)
        times.append(time.perf_counter())
        names = ("finite_ms", "ask_for_copy_ms", "to_host_ms", "write_ms")
        spans = [1000 * (after - before) for before, after in itertools.pairwise(times)]
        yield f"{turn} save", dict(zip(names, spans, strict=True)) | {"bytes": path.stat().st_size}
    code = "import sys, torch; assert not torch.cuda.is_available(); torch.load(sys.argv[1], weights_only=True)"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    yield "plain torch.load without a device", {"exit_code": done.returncode, "says": done.stderr.strip()[-200:]}


def memory(place: Place) -> Iterator[Row]:
    """The message when the device runs out of memory; the exit code is 5, and the next run works."""
    device = str(place.device)
    if place.on_gpu:
        torch.cuda.set_per_process_memory_fraction(0.003)
    words = ["model=resnet18", "data=digits", "data.batch_size=1400", "data.val_fraction=0", "early_stopping=none"]
    words += ["trainer.epochs=1", "export=none", "trainer.precision=fp32", f"hydra.run.dir={place.folder / 'too-much'}"]
    if place.on_gpu:
        code, said = run(place.folder, *words, device=device)
        yield "too large a batch", {"exit_code": code, "says": said[-300:]}
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    summary = train(place.folder, "after", *SMALL, "model=mlp", device=device)
    yield "the next run", {"state": summary["state"]}

"""Check what this machine has and what works: packages, devices, number formats, the disk."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nnrun.base.files import write_text
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.host import machine_bytes
from nnrun.base.lock import locked
from nnrun.base.shown import counted
from nnrun.core.device import Precision, cpu_has_bf16
from nnrun.core.without_compiler import spare_compiler
from nnrun.runs.environment import VERSIONED, cpu_model, version_of

WORKS, ABSENT, FAILS = "works", "not here", "FAILS"
# Maximum relative difference of a half-precision loss from the fp32 loss.
_TOLERANCE = 0.05
_NUM_STEPS = 5


@dataclass(frozen=True)
class Finding:
    """A row of the doctor's table: what was checked, its state, and details."""

    what: str
    state: str
    detail: str


def look_at_machine(folder: Path) -> list[Finding]:
    """Check packages, processor, devices and number formats, and the disk that holds `folder`."""
    return [*_software(), *_devices(), *_precisions(), *_disk(folder)]


def _software() -> list[Finding]:
    """Return the package versions, the system and the processor."""
    versions = ", ".join(f"{name} {version}" for name in VERSIONED if (version := version_of(name)))
    missing = [name for name in VERSIONED if version_of(name) is None]
    memory = machine_bytes() / 2**30
    cores, threads = counted(os.cpu_count() or 1, "core"), counted(torch.get_num_threads(), "thread")
    return [
        Finding("packages", WORKS if not missing else ABSENT, versions + "".join(f"; no {name}" for name in missing)),
        Finding("system", WORKS, f"Python {platform.python_version()}, {platform.platform()}"),
        Finding("processor", WORKS, f"{cpu_model()}, {cores}, {threads} in use, {memory:.0f} GiB memory"),
    ]


def devices() -> list[torch.device]:
    """Return the devices that torch finds, the CPU first."""
    found = [torch.device("cpu")]
    found += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return found + ([torch.device("mps")] if torch.backends.mps.is_available() else [])


def _devices() -> list[Finding]:
    """Return a row for each GPU, or one that says why there is none, and a row for MPS."""
    rows = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = f"compute capability {properties.major}.{properties.minor}"
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {capability}"
        rows.append(Finding(f"cuda:{index}", WORKS, detail))
    if not rows:
        why = "this PyTorch is built without CUDA" if torch.version.cuda is None else "PyTorch finds no CUDA device"
        rows.append(Finding("cuda", ABSENT, why))
    has_mps = torch.backends.mps.is_available()
    return [
        *rows,
        Finding("mps", WORKS if has_mps else ABSENT, "Metal" if has_mps else "PyTorch finds no Metal device"),
    ]


def _precisions() -> list[Finding]:
    """Train a small network for a few steps on each device in each number format, and compare its loss with fp32's."""
    return [_precision(device, name) for device in devices() for name in ("fp32", "bf16", "fp16")]


def _precision(device: torch.device, name: str) -> Finding:
    """Train in a number format: it works if the loss is close to fp32's and every update was made."""
    what = f"{name} on {device}"
    if name == "fp16" and device.type == "cpu":
        return Finding(what, ABSENT, "not used: a CPU trains in fp32 or bf16")
    try:
        reference, _ = _train_a_little(device, "fp32")
        start = time.perf_counter()
        loss, num_updates = _train_a_little(device, name)
        seconds = time.perf_counter() - start
    except Exception as error:
        machine = of_the_machine(error)
        return Finding(what, FAILS, str(machine or f"{type(error).__name__}: {error}")[:200])
    good = abs(loss - reference) <= _TOLERANCE * abs(reference) and num_updates == _NUM_STEPS
    slow = name == "bf16" and device.type == "cpu" and not cpu_has_bf16()
    detail = f"loss {loss:.4f} after {_NUM_STEPS} steps (fp32: {reference:.4f}), {seconds * 1000:.0f} ms"
    detail += "; this CPU has no bf16 instructions: slower than fp32" if slow else ""
    detail += f"; only {num_updates} of {_NUM_STEPS} updates were made" if num_updates < _NUM_STEPS else ""
    return Finding(what, WORKS if good else FAILS, detail)


def _train_a_little(device: torch.device, precision: str) -> tuple[float, int]:
    """Train a small convolutional network on one batch; return its loss, and how many updates changed it."""
    draws = torch.Generator().manual_seed(0)
    inputs, targets = torch.rand(32, 1, 12, 12, generator=draws), torch.arange(32) % 4
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 4)).to(device)
    spare_compiler()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    # Small enough that these gradients do not overflow.
    scaler = torch.amp.GradScaler(device.type, init_scale=256.0) if precision == "fp16" else None
    weight, num_updates = next(network.parameters()), 0
    for _ in range(_NUM_STEPS):
        before = weight.detach().clone()
        with Precision(precision, "").autocast(device):
            loss = nn.functional.cross_entropy(network(inputs.to(device)).float(), targets.to(device))
        optimizer.zero_grad()
        if scaler:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()
        num_updates += not torch.equal(weight, before)
    return loss.item(), num_updates


def _disk(folder: Path) -> list[Finding]:
    """Check that a folder can hold runs: free space, a file that is synced and renamed, a lock."""
    free = shutil.disk_usage(folder).free
    try:
        start = time.perf_counter()
        write_text(folder / "probe.txt", "written, synced, renamed\n")
        milliseconds = (time.perf_counter() - start) * 1000
        with locked(folder):
            pass
    except Exception as error:
        return [Finding("disk", FAILS, str(error))]
    return [Finding("disk", WORKS, f"{free / 2**30:.1f} GiB free; writing a synced file takes {milliseconds:.1f} ms")]

"""The device, the number format and the memory layout of a run: what `auto` becomes, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import deterministic

from nnrun.base.errors import ConfigError, ResourceError

# An option of torch.compile: it captures no graphs of its own.
WITHOUT_GRAPHS: dict[str, str | int | bool | Callable[..., Any]] = {"triton.cudagraphs": False}
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """The number format of the forward pass; weights, updates and evaluation are always fp32."""

    name: str
    reason: str

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        dtype = _DTYPES[self.name]
        return nullcontext() if dtype is None else torch.autocast(device.type, dtype)

    @property
    def scales_gradients(self) -> bool:
        """Whether small gradients would vanish without a scaled loss."""
        return self.name == "fp16"


def choose_device(wanted: str) -> torch.device:
    """Return the device that `trainer.device` names; raise ResourceError if this machine does not have it."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            here = f"this machine has {count or 'no'} CUDA device{'s' if count > 1 else ''}"
            raise ResourceError(f"trainer.device={wanted}: {here}; use trainer.device=auto")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ResourceError("trainer.device=mps: this machine has no Metal device; use trainer.device=auto")
    return device


def is_gpu(device: torch.device) -> bool:
    """Return whether a device is a CUDA GPU: it works on a stream, asynchronously to the host."""
    return device.type == "cuda"


def copies_beside(device: torch.device) -> bool:
    """Return whether copies from pinned memory to a device overlap with its work."""
    return is_gpu(device) and torch.cuda.is_available()


def is_recording(device: torch.device) -> bool:
    """Return whether the work of this thread on a device is being recorded, not done."""
    return is_gpu(device) and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def random_state(device: torch.device) -> Tensor:
    """Return the state of a device's own generator; nothing waits for the device."""
    if is_gpu(device):
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Restore the state of a device's own generator."""
    if is_gpu(device):
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)


def wait_for(device: torch.device) -> None:
    """Wait for a device to finish its queued work."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the peak bytes that torch reserved on a GPU, and its total; None if a device shares the host's memory.

    Both are known on the host: nothing waits for the device.
    """
    if not is_gpu(device):
        return None
    return torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory


def free_bytes(device: torch.device) -> int | None:
    """Return the free bytes of a GPU's memory; None for a device that shares the host's memory."""
    return torch.cuda.mem_get_info(device)[0] if is_gpu(device) else None


def seed_device(device: torch.device, number: int) -> None:
    """Seed only a device's own generator: `torch.manual_seed` visits every backend and takes 150 times as long."""
    if is_gpu(device):
        index = device.index if device.index is not None else torch.cuda.current_device()
        torch.cuda.default_generators[index].manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


class Mark:
    """A point in a GPU's queue of work that can be waited for."""

    def __init__(self, *, is_timed: bool = False) -> None:
        self._event = torch.cuda.Event(enable_timing=is_timed)

    def set(self, device: torch.device) -> None:
        """Mark the end of the work queued so far."""
        self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Wait for the device to reach the mark; return at once if none was set."""
        self._event.synchronize()

    def seconds_to(self, later: Mark) -> float:
        """Return the device's time from this mark to a later one, both timed and reached."""
        return self._event.elapsed_time(later._event) / 1000


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Return the precision that `trainer.precision` names; `auto` takes the fastest that is exact enough.

    That is bf16 on GPUs that compute in it, fp16 with a scaled loss on older GPUs, and fp32 elsewhere: on a CPU the
    gain is smaller, and the same result on every machine is worth more. Raises ConfigError for a precision that the
    device does not support.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("trainer.precision=fp16 needs a GPU, but the device is the CPU; use fp32 or bf16")
    if wanted != "auto":
        return Precision(wanted, "as asked")
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return Precision("bf16", "auto: this GPU computes in bf16")
        return Precision("fp16", "auto: this GPU has no bf16; the loss is scaled")
    if device.type == "cpu" and cpu_has_bf16():
        return Precision("fp32", "auto: exact; this CPU also has bf16, which trains faster: trainer.precision=bf16")
    return Precision("fp32", "auto: exact")


def cpu_has_bf16() -> bool:
    """Return whether this CPU has instructions for bf16; without them bf16 is slower than fp32."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_channels_last(wanted: str | bool, network: nn.Module, device: torch.device, precision: Precision) -> bool:
    """Return whether channels come last in memory: `auto` means with convolutions, on a CPU or in half precision."""
    if wanted != "auto":
        return bool(wanted)
    has_convolution = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return has_convolution and (device.type == "cpu" or (device.type == "cuda" and precision.name != "fp32"))


def set_deterministic(wanted: bool) -> None:
    """Forbid, or allow again, kernels that may give different bits each time. Call it before the device is used."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if wanted or torch.are_deterministic_algorithms_enabled():
        # The call imports the compiler, which takes as long as torch itself.
        torch.use_deterministic_algorithms(wanted)
        # Our code reads no uninitialized memory, and filling it costs a launch for each tensor.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # If bits may differ, cuDNN finds the fastest kernel for each shape by trying them.
    torch.backends.cudnn.benchmark = not wanted


def set_exact() -> None:
    """Compute fp32 in fp32 on a GPU: cuDNN's own default is TF32, with products of three significant digits.

    So training in fp32, and every evaluation, means the same on a GPU as on a CPU.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    # Newer names of the same settings: once a program has set these, the older ones have no effect or cannot be read.
    backends: Any = torch.backends
    for part in (backends, backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul):
        part.fp32_precision = "ieee"


def kernels(device: torch.device) -> dict[str, Any]:
    """Return the versions and settings that decide the bits of a GPU's results, for environment.json.

    cuDNN has to be loaded to tell its version, so it is asked only where it computes.
    """
    backends: Any = torch.backends
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "fp32_convolution": backends.cudnn.conv.fp32_precision,
        "fp32_matmul": backends.cuda.matmul.fp32_precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def has_fused_kernel(
    make: Callable[[list[Tensor]], Optimizer], parameters: Iterable[Tensor], *, some_late: bool = False
) -> bool:
    """Return whether an optimizer that `make` makes with `fused=True` can train parameters of these types, there.

    torch tells only by a step: Adagrad, for one, is fused on a CPU and, up to torch 2.11 at least, not on CUDA. With
    `some_late`, some of them have their first gradient after the others: fused SGD with momentum cannot take that.
    """
    kinds = dict.fromkeys((parameter.device, parameter.dtype) for parameter in parameters)
    scratch, later = (
        [torch.zeros(1, device=device, dtype=dtype, requires_grad=True) for device, dtype in kinds] for _ in range(2)
    )
    steps = [scratch, [*scratch, *later]] if some_late else [scratch]
    try:
        optimizer = make(steps[-1])
        for trained in steps:
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
    except (RuntimeError, TypeError):
        return False
    return True

"""Process-wide settings of a job: threads, the allocator, determinism, exact matrix products.

A command has a process to itself. In a program that calls nnrun, a job runs with torch's defaults, as a command does,
and the program's settings are restored afterwards.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy
import torch
from torch.utils import deterministic

from nnrun.assembly.job import Job
from nnrun.assembly.threads import choose_threads, forget_threads
from nnrun.base.host import give_back_memory, keep_freed_memory
from nnrun.core.device import set_deterministic, set_exact

# Devices for which the caller may have enabled autocast.
_AUTOCAST_DEVICES = ("cpu", "cuda")
# The objects whose attribute `fp32_precision` sets the precision of torch's products.
_BACKENDS: Any = torch.backends
_CPU_PRECISIONS = (_BACKENDS.mkldnn, _BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn)
_CUDA_PRECISIONS = (_BACKENDS.cudnn, _BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn, _BACKENDS.cuda.matmul)


def set_up_process(job: Job) -> list[str]:
    """Apply the settings; return notes. Raises ResourceError where one is not available."""
    if job.device.type == "cpu":
        keep_freed_memory()
    notes = choose_threads(job)
    set_deterministic(job.settings.trainer.deterministic)
    if job.device.type == "cuda":
        set_exact()
    return notes


@contextmanager
def torch_of_its_own() -> Iterator[None]:
    """Run the block with torch as in a new process, except for the number of threads; then restore settings and RNGs.

    Two things are not restored: malloc's settings are reset to its defaults, and compiled functions are compiled again.
    """
    with ExitStack() as back:
        back.callback(give_back_memory)
        back.callback(forget_threads)
        back.callback(torch.set_num_threads, torch.get_num_threads())
        _put_back_draws(back)
        _put_back_precision(back)
        _put_back_determinism(back)
        _put_back_modes(back)
        yield
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _put_back_draws(back: ExitStack) -> None:
    """Restore the global generators of numpy and torch afterwards."""
    had_cuda, seed = torch.cuda.is_initialized(), torch.initial_seed()

    def seed_new_devices() -> None:
        """Seed a device that was unused before as its first use would have."""
        if not had_cuda and torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    back.callback(numpy.random.set_state, numpy.random.get_state())
    back.callback(seed_new_devices)
    if torch.backends.mps.is_available():
        back.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
    back.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count()) if had_cuda else []))


def _put_back_precision(back: ExitStack) -> None:
    """Set the precision of products and the like as in a new process; restore it afterwards."""
    for part in (_BACKENDS, *_CPU_PRECISIONS, *_CUDA_PRECISIONS):
        back.callback(setattr, part, "fp32_precision", part.fp32_precision)
    # The older names of these settings can be read only if the newer ones agree with them.
    with suppress(RuntimeError):
        back.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    with suppress(RuntimeError):
        back.callback(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("highest")
    for part in _CPU_PRECISIONS:
        part.fp32_precision = "none"
    # A denormal number: 0 if the processor flushes them.
    flushes = sys.float_info.min / 2 == 0
    back.callback(torch.set_flush_denormal, flushes)
    torch.set_flush_denormal(False)


def _put_back_determinism(back: ExitStack) -> None:
    """Restore the choice of kernels afterwards; a job sets its own."""
    for module, name in (
        (deterministic, "fill_uninitialized_memory"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
    ):
        back.callback(setattr, module, name, getattr(module, name))
    is_wanted, warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )

    def put_back() -> None:
        """Call torch only if the setting differs, since the call imports its compiler."""
        if (torch.are_deterministic_algorithms_enabled(), is_wanted) != (False, False):
            torch.use_deterministic_algorithms(is_wanted, warn_only=warns)

    back.callback(put_back)


def _put_back_modes(back: ExitStack) -> None:
    """Reset the modes that surround calls (gradients, autocast, default dtype and device); restore them afterwards."""
    back.enter_context(torch.inference_mode(False))
    back.enter_context(torch.enable_grad())
    for device in _AUTOCAST_DEVICES:
        back.enter_context(torch.autocast(device, enabled=False))
    back.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    if torch.get_default_device().type != "cpu":
        back.enter_context(torch.device("cpu"))


# Settings that all threads share are changed by one thread at a time.
_EXACT = threading.RLock()


@contextmanager
def computing_exactly(device: torch.device) -> Iterator[None]:
    """Compute in fp32 within the block, as an evaluation does, whatever the program's settings; restore these."""
    with ExitStack() as back:
        for kind in _AUTOCAST_DEVICES:
            back.enter_context(torch.autocast(kind, enabled=False))
        if not _is_exact(device):
            back.enter_context(_EXACT)
            _put_back_precision(back)
            _put_back_modes(back)
            if device.type == "cuda":
                set_exact()
        yield


def _is_exact(device: torch.device) -> bool:
    """Return whether no setting makes a device compute in another precision than fp32."""
    parts = _CUDA_PRECISIONS[1:] if device.type == "cuda" else (_BACKENDS, *_CPU_PRECISIONS)
    fine = ("ieee",) if device.type == "cuda" else ("none", "ieee")
    is_plain = torch.get_default_dtype() == torch.float32 and torch.get_default_device().type == "cpu"
    return is_plain and sys.float_info.min / 2 > 0 and all(part.fp32_precision in fine for part in parts)

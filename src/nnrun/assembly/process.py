"""What a job sets for the whole of its process: threads, the allocator, determinism, exact matrix products.

A command has its process to itself. In the process of a program that calls nnrun, a job finds torch as a command would,
and what the program had set is put back behind it.
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

# Where autocast may have been switched on around a call.
_AUTOCAST_DEVICES = ("cpu", "cuda")
# Settings of torch as attributes, each with what it is in a new process, where a job does not set it itself.
_BACKENDS: Any = torch.backends
_CPU_PRECISIONS = (_BACKENDS.mkldnn, _BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn)
_CUDA_PRECISIONS = (_BACKENDS.cudnn, _BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn, _BACKENDS.cuda.matmul)


def set_up_process(job: Job) -> list[str]:
    """Set all of it; return what is said of it. Raises ResourceError where it cannot be had."""
    if job.device.type == "cpu":
        keep_freed_memory()
    notes = choose_threads(job)
    set_deterministic(job.settings.trainer.deterministic)
    if job.device.type == "cuda":
        set_exact()
    return notes


@contextmanager
def torch_of_its_own() -> Iterator[None]:
    """Let the block find torch as a new process does, but for the number of threads; put back what was set, and drawn.

    Not to be had back: what malloc was told is set to what it comes to by itself, and compiled functions are compiled
    again.
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
    """Have the global generators of numpy and torch put back."""
    had_cuda, seed = torch.cuda.is_initialized(), torch.initial_seed()

    def seed_new_devices() -> None:
        """Seed a device that was not used before as its first use would have."""
        if not had_cuda and torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    back.callback(numpy.random.set_state, numpy.random.get_state())
    back.callback(seed_new_devices)
    if torch.backends.mps.is_available():
        back.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
    back.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count()) if had_cuda else []))


def _put_back_precision(back: ExitStack) -> None:
    """Have the precision of products and the like put back; meanwhile it is what it is in a new process."""
    for part in (_BACKENDS, *_CPU_PRECISIONS, *_CUDA_PRECISIONS):
        back.callback(setattr, part, "fp32_precision", part.fp32_precision)
    # The older names of the same can be asked only where the newer ones agree with them.
    with suppress(RuntimeError):
        back.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    with suppress(RuntimeError):
        back.callback(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("highest")
    for part in _CPU_PRECISIONS:
        part.fp32_precision = "none"
    # A number so small that it is nothing where the processor is told to leave such out.
    flushes = sys.float_info.min / 2 == 0
    back.callback(torch.set_flush_denormal, flushes)
    torch.set_flush_denormal(False)


def _put_back_determinism(back: ExitStack) -> None:
    """Have put back which kernels may be used; what a job wants, it sets itself."""
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
        """Tell torch, whose call imports its compiler, only what it does not know."""
        if (torch.are_deterministic_algorithms_enabled(), is_wanted) != (False, False):
            torch.use_deterministic_algorithms(is_wanted, warn_only=warns)

    back.callback(put_back)


def _put_back_modes(back: ExitStack) -> None:
    """Have put back what is set around calls: gradients, autocast, the default type and device."""
    back.enter_context(torch.inference_mode(False))
    back.enter_context(torch.enable_grad())
    for device in _AUTOCAST_DEVICES:
        back.enter_context(torch.autocast(device, enabled=False))
    back.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    if torch.get_default_device().type != "cpu":
        back.enter_context(torch.device("cpu"))


# Settings that all threads share are changed by one at a time.
_EXACT = threading.RLock()


@contextmanager
def computing_exactly(device: torch.device) -> Iterator[None]:
    """Let the block compute as an evaluation does, in fp32, whatever the program has set, and put that back."""
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
    """Return whether nothing is set under which a device would compute otherwise than in fp32."""
    parts = _CUDA_PRECISIONS[1:] if device.type == "cuda" else (_BACKENDS, *_CPU_PRECISIONS)
    fine = ("ieee",) if device.type == "cuda" else ("none", "ieee")
    is_plain = torch.get_default_dtype() == torch.float32 and torch.get_default_device().type == "cpu"
    return is_plain and sys.float_info.min / 2 > 0 and all(part.fp32_precision in fine for part in parts)

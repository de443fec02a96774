"""Errors of CUDA, its libraries and torch's compiler, in words for a user."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling, lacks_memory, of_the_machine

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("HIP error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GiB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_a_lack_of_memory_is_told_whoever_says_it(error):
    assert lacks_memory(error)
    with pytest.raises(type(error)), calling("model"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`"),
    ],
    ids=str,
)
def test_negative_control_other_errors_are_no_lack_of_memory(error):
    assert not lacks_memory(error)
    with pytest.raises(ConfigError, match="model fails with"), calling("model"):
        raise error


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("No working C++ compiler found in torch._inductor.config.cpp.cxx", r"a C\+\+ compiler"),
        ("Failed to find C compiler. Please specify via CC environment variable", "a C compiler"),
        ("fatal error: Python.h: No such file or directory", "Python's headers"),
        ("Cannot find a working triton installation.", "the package triton"),
        ("Found GTX 1080 which is too old to be supported by the triton GPU compiler", "a newer GPU"),
    ],
)
def test_what_compiling_needs_is_named(text, needs):
    error = of_the_machine(RuntimeError(text))
    assert error is not None
    with pytest.raises(type(error), match=f"trainer.compile=true needs {needs}.*trainer.compile=false"):
        raise error


def test_an_operation_without_a_deterministic_version_names_the_setting():
    said = (
        "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
    )
    expected = "trainer.deterministic=true: model uses adaptive_avg_pool2d_backward_cuda, .*trainer.deterministic=false"
    with pytest.raises(ConfigError, match=expected), calling("model"):
        raise RuntimeError(said)


def test_a_workspace_that_cublas_is_not_deterministic_with_is_named(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    said = "Deterministic behavior was enabled [...] set an environment variable: CUBLAS_WORKSPACE_CONFIG=:4096:8"
    expected = "trainer.deterministic=true: model is not deterministic with CUBLAS_WORKSPACE_CONFIG=:0:0.*set it to"
    with pytest.raises(ConfigError, match=expected), calling("model"):
        raise RuntimeError(said)


def test_a_batch_of_one_sample_in_batchnorm_is_told_what_helps():
    """Negative control: two samples are normalized."""
    norm = torch.nn.BatchNorm1d(3)
    with (
        pytest.raises(ConfigError, match=r"Expected more than 1 value .*use data\.batch_size=2 or more$"),
        calling("model"),
    ):
        norm(torch.zeros(1, 3))
    assert norm(torch.zeros(2, 3)).shape == (2, 3)

"""A run in a program's process finds torch as new, and what the program had set is put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from nnrun.assembly.process import computing_exactly, torch_of_its_own
from nnrun.core.device import set_deterministic, set_exact

CPU = torch.device("cpu")


def seen() -> dict[str, object]:
    backends = torch.backends
    parts = (backends, backends.mkldnn, backends.mkldnn.matmul, backends.cudnn.conv, backends.cuda.matmul)
    return {
        "parts": [part.fp32_precision for part in parts],
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cudnn.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "draws": (torch.get_rng_state().tolist(), str(np.random.get_state())),
    }


NEW = {"matmul": "highest", "dtype": torch.float32, "grad": True}
SET: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "matmul": lambda: torch.set_float32_matmul_precision("medium"),
    "no tf32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = True, benchmark


@pytest.mark.parametrize("name", SET)
def test_what_a_job_and_a_program_set_is_kept_apart(name: str) -> None:
    SET[name]()
    before = seen()
    with torch.no_grad(), torch_of_its_own():
        found = seen()
        assert {key: found[key] for key in NEW} == NEW
        set_exact()
        set_deterministic(False)
        torch.manual_seed(1)
        np.random.seed(1)
    assert seen() == before


@pytest.mark.parametrize("name", SET)
def test_a_prediction_is_exact_whatever_a_program_has_set(name: str) -> None:
    SET[name]()
    before = seen()
    with torch.autocast("cpu", torch.bfloat16), computing_exactly(CPU):
        assert torch.get_default_dtype() == torch.float32
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.is_autocast_enabled("cpu")
    assert seen() == before

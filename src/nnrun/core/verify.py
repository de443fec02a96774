"""Prove an artifact: run it on the whole test split beside the network that it was made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.core.seams import Exporter, Preprocessing, Problem, Split

# A prime number and 1: an artifact whose batch is frozen at the example's size fails here.
BATCH_SIZES = (1, 2, 97)
LARGEST_BATCH = 500
_TIMED_CALLS = 30


@dataclass(frozen=True)
class Verification:
    """What the proof found; `ok` is the verdict, `reason` why not."""

    ok: bool
    reason: str | None
    num_samples: int
    agreement: float
    max_abs_diff: float | None
    tolerance: float
    metric: str
    metric_eager: float | None
    metric_artifact: float | None
    size_bytes: int
    latency_ms_batch_1: float | None
    latency_ms_batch_1_eager: float | None
    samples_per_second: float
    samples_per_second_eager: float
    batch_sizes: tuple[int, ...]

    @classmethod
    def unusable(cls, exporter: Exporter, size_bytes: int, reason: str) -> Verification:
        """Return the proof of an artifact that could not be made or run: not one sample is proven."""
        sizes = (*BATCH_SIZES, LARGEST_BATCH)
        return cls(
            False, reason, 0, 0.0, None, exporter.tolerance, "", None, None, size_bytes, None, None, 0.0, 0.0, sizes
        )

    def to_json(self) -> dict[str, Any]:
        """Return the proof as verification.json holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Standard:
    """What an artifact is held against: a network on the CPU in fp32, with its preprocessing, on a whole test split."""

    network: nn.Module
    preprocessing: Preprocessing
    problem: Problem
    test: Split

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the network's scores of raw samples."""
        return self.network(self.preprocessing(raw))


@torch.inference_mode()
def verify(artifact: Path, exporter: Exporter, standard: Standard) -> Verification:
    """Compare an artifact, loaded through its exporter, with its standard on every test sample.

    Small batches of each size come first, then the rest in large ones. Scores may differ by `tolerance` times the
    largest score. An artifact that cannot be loaded or run is not ok, and the reason says why.
    """
    test, problem = standard.test, standard.problem
    try:
        loaded = exporter.load(artifact)

        def call(raw: Tensor) -> Tensor:
            return loaded(raw if exporter.preprocess else standard.preprocessing(raw))

        ours, our_seconds = _run(standard, test.inputs)
        theirs, their_seconds = _run(call, test.inputs)
        latency, eager_latency = _latency_ms(call, test.inputs), _latency_ms(standard, test.inputs)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        return Verification.unusable(
            exporter, size_of(artifact), f"it cannot be run: {type(error).__name__}: {str(error)[:300]}"
        )
    agreement = problem.agreement(ours, theirs).double().mean().item()
    difference = (ours - theirs).abs().max().item()
    scale = max(1.0, ours.abs().max().item())
    reason = None
    if not difference <= exporter.tolerance * scale:
        reason = f"scores differ by {difference:.3g}, more than {exporter.tolerance:g} of the largest score {scale:.3g}"
    elif agreement < exporter.min_agreement:
        reason = f"{agreement:.2%} of the classes agree, fewer than {exporter.min_agreement:.2%}"
    return Verification(
        ok=reason is None,
        reason=reason,
        num_samples=len(test),
        agreement=agreement,
        max_abs_diff=difference,
        tolerance=exporter.tolerance,
        metric=problem.headline,
        metric_eager=problem.score(ours, test.targets),
        metric_artifact=problem.score(theirs, test.targets),
        size_bytes=size_of(artifact),
        latency_ms_batch_1=latency,
        latency_ms_batch_1_eager=eager_latency,
        samples_per_second=len(test) / their_seconds,
        samples_per_second_eager=len(test) / our_seconds,
        batch_sizes=(*BATCH_SIZES, LARGEST_BATCH),
    )


def size_of(artifact: Path) -> int:
    """Return the bytes of an artifact, a file or a folder of files."""
    files = artifact.rglob("*") if artifact.is_dir() else [artifact]
    return sum(file.stat().st_size for file in files if file.is_file())


def _slices(length: int) -> Iterator[slice]:
    """Cut a split into batches: one of each small size, then large ones."""
    start = 0
    for size in BATCH_SIZES:
        yield slice(start, start + size)
        start += size
    for first in range(start, length, LARGEST_BATCH):
        yield slice(first, first + LARGEST_BATCH)


def _run(call: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, float]:
    """Return the scores of all samples in fp32, and the seconds that it took."""
    call(inputs[:LARGEST_BATCH])
    start = time.perf_counter()
    scores = [call(inputs[part]).float() for part in _slices(len(inputs)) if len(inputs[part])]
    return torch.cat(scores), time.perf_counter() - start


def _latency_ms(call: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    """Return the median time of a call with one sample, in milliseconds."""
    times = []
    for index in range(_TIMED_CALLS):
        sample = inputs[index % len(inputs)][None]
        start = time.perf_counter()
        call(sample)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2] * 1000

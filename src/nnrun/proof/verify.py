"""Prove an artifact: run it on the whole test split beside the network that it was made of."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.paths import without_paths
from nnrun.base.targets import Targets
from nnrun.core.seams.data import Preprocessing, Split
from nnrun.core.seams.export import Exporter
from nnrun.core.seams.problem import Problem
from nnrun.proof.isolated import Isolated
from nnrun.proof.verdict import BATCH_SIZES, LARGEST_BATCH, Verification, asked

_TIMED_CALLS = 30
_NUM_WORST = 5
_ROUNDING = 1e-9
PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Measured:
    """What a network gives for a whole split, in fp32, and how long it took."""

    outputs: Tensor
    seconds: float
    latency_ms: float


@dataclass(frozen=True)
class Standard:
    """What an artifact is held against: a network on the CPU in fp32, with its preprocessing, on a whole test split."""

    network: nn.Module
    preprocessing: Preprocessing
    problem: Problem
    test: Split
    targets: Targets

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the network's scores of raw samples."""
        return self.network(self.preprocessing(raw))

    @cached_property
    def measured(self) -> Measured:
        """The network's own scores: once for all formats."""
        return _measure(self, self.test.inputs, lambda raw: raw)


@dataclass(frozen=True)
class _Found:
    """What an artifact gave, what that is compared with, and what is wrong with it besides."""

    theirs: Measured
    ours: Tensor
    packages: list[str] | None
    fault: str | None


@torch.inference_mode()
def has_fallen(score: float, their_score: float, max_drop: float) -> bool:
    """Return whether a score of 0 to 1 is below another one by more than `max_drop`; NaN is.

    0.48 and 0.47 are 0.01 apart: what the difference of two floats is beyond that, is no loss of accuracy.
    """
    return not score - their_score <= max_drop + _ROUNDING


def verify(artifact: Path, exporter: Exporter, standard: Standard) -> Verification:
    """Compare an artifact, loaded through its exporter, with its standard on every test sample.

    Small batches of each size come first, then the rest in large ones. Scores may differ by `tolerance` times the
    largest score. An artifact that cannot be loaded or run is not ok, and the reason says why.
    """
    problem, targets = standard.problem, standard.test.targets
    try:
        found = _find(artifact, exporter, standard)
    except (ModuleNotFoundError, ResourceError):
        raise
    except Exception as error:
        if of_the_machine(error):
            raise
        why = f"it cannot be run: {type(error).__name__}: {without_paths(str(error))[:300]}"
        return Verification.unusable(exporter, size_of(artifact), why)
    ours, theirs = found.ours, found.theirs.outputs
    agrees = problem.agreement(ours, theirs)
    score, their_score = problem.score(ours, targets), problem.score(theirs, targets)
    difference = (ours - theirs).abs().max().item()
    agreement = agrees.double().mean().item()
    scale = max(1.0, ours.abs().max().item())
    max_drop = getattr(exporter, "max_accuracy_drop", None)
    reason = found.fault
    if reason is not None:
        pass
    elif not difference <= exporter.tolerance * scale:
        reason = f"scores differ by {difference:.3g}, more than {exporter.tolerance:g} of the largest score {scale:.3g}"
    elif agreement < exporter.min_agreement:
        reason = f"{agreement:.2%} of the classes agree, fewer than {exporter.min_agreement:.2%}"
    elif max_drop is not None and has_fallen(score, their_score, max_drop):
        reason = f"{problem.headline} falls from {score:.4f} to {their_score:.4f}, by more than {max_drop:g}"
    worst = []
    if reason is not None:
        # Those whose prediction is another one first, then by their difference; NaN is the largest.
        distance = (ours - theirs).abs().flatten(1).amax(1).nan_to_num(nan=math.inf, posinf=math.inf)
        order = torch.where(agrees, distance, math.inf).argsort(descending=True, stable=True)
        worst = [
            {"index": index, **problem.compare(ours[index], theirs[index], targets[index])}
            for index in order[:_NUM_WORST].tolist()
        ]
    return Verification(
        ok=reason is None,
        reason=reason,
        num_samples=len(targets),
        agreement=agreement,
        max_abs_diff=difference,
        metric=problem.headline,
        metric_eager=score,
        metric_artifact=their_score,
        size_bytes=size_of(artifact),
        latency_ms_batch_1=found.theirs.latency_ms,
        latency_ms_batch_1_eager=standard.measured.latency_ms,
        samples_per_second=len(targets) / found.theirs.seconds,
        samples_per_second_eager=len(targets) / standard.measured.seconds,
        packages=found.packages,
        worst=worst,
        **asked(exporter),
    )


def _find(artifact: Path, exporter: Exporter, standard: Standard) -> _Found:
    """Run both on the whole split. What the artifact says of itself decides what its outputs are compared with."""
    loaded = exporter.load(artifact)
    try:
        metadata = loaded.metadata if isinstance(loaded, Isolated) else {}
        prepare = (lambda raw: raw) if exporter.preprocess else standard.preprocessing
        theirs = _measure(loaded, standard.test.inputs, prepare)
        packages = loaded.packages() if isinstance(loaded, Isolated) else None
    finally:
        if isinstance(loaded, Isolated):
            loaded.close()
    ours = standard.measured.outputs
    if metadata.get("output_kind", getattr(exporter, "output", "scores")) == PROBABILITIES:
        ours = standard.problem.probabilities(ours)
    return _Found(theirs, ours, packages, _fault(metadata, standard, packages))


def _fault(metadata: Mapping[str, str], standard: Standard, packages: Sequence[str] | None) -> str | None:
    """Return what is wrong with what an artifact says of itself, or with the process that it ran in."""
    names = list(standard.targets.names)
    if "class_names" in metadata and json.loads(metadata["class_names"]) != names:
        return f"it names the classes {metadata['class_names'][:100]}, and they are {json.dumps(names)[:100]}"
    if packages is not None and "nnrun" in packages:
        return "it ran in a process that had imported nnrun, which proves nothing of a process without it"
    return None


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


def _measure(call: Callable[[Tensor], Tensor], inputs: Tensor, prepare: Callable[[Tensor], Tensor]) -> Measured:
    """Run a network on all samples, in batches of every size; `prepare` is done before, and not timed."""
    call(prepare(inputs[:LARGEST_BATCH]))
    outputs, seconds = [], 0.0
    for part in _slices(len(inputs)):
        if len(inputs[part]):
            output, took = _timed(call, prepare(inputs[part]))
            outputs.append(output.float())
            seconds += took
    samples = (prepare(inputs[index % len(inputs)][None]) for index in range(_TIMED_CALLS))
    latencies = sorted(_timed(call, sample)[1] for sample in samples)
    return Measured(torch.cat(outputs), seconds, latencies[len(latencies) // 2] * 1000)


def _timed(call: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[Tensor, float]:
    """Return the output of a call and its seconds: those in the process where it happened."""
    start = time.perf_counter()
    output = call(batch)
    return output, call.seconds if isinstance(call, Isolated) else time.perf_counter() - start

"""Verify an artifact: compare it, on the whole test split, with the network that it was made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.paths import without_paths
from nnrun.core.outputs import scores_of
from nnrun.core.seams.data import Preprocessing, Split, Tree
from nnrun.core.seams.export import Exporter, max_drop_of
from nnrun.core.seams.problem import Output, Problem
from nnrun.proof.isolated import Isolated
from nnrun.proof.timing import TimedOutputs, WrongOutputs, run_on_split
from nnrun.proof.verdict import Verification, asked

_NUM_WORST = 5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Standard:
    """The reference for an artifact: a network on the CPU in fp32, with its preprocessing, on a whole test split.

    `outputs` are the network's for the split, if it was already evaluated so: it is not run on all of it again.
    """

    network: nn.Module
    preprocessing: Preprocessing
    problem: Problem
    test: Split
    outputs: Tensor | None = None

    def __call__(self, raw: Tree) -> Tensor:
        """Return the network's scores of raw samples."""
        return scores_of(self.network(self.preprocessing(raw)))

    @cached_property
    def measured(self) -> TimedOutputs:
        """The network's own outputs, computed once for all formats, and the time that they take."""
        return run_on_split(self, self.test.inputs, lambda raw: raw, known=self.outputs)


@dataclass(frozen=True)
class _Found:
    """An artifact's outputs, what they are compared with, and what else is wrong with the artifact."""

    theirs: TimedOutputs
    ours: Tensor
    output: Output
    packages: list[str] | None
    fault: str | None


@dataclass(frozen=True)
class _Comparison:
    """How far the outputs of an artifact are from the network's; `scale` is the largest of those, at least 1."""

    agrees: Tensor
    score: float
    their_score: float
    max_abs_diff: float
    scale: float

    @property
    def agreement(self) -> float:
        """The fraction of the samples whose prediction is the same."""
        return self.agrees.double().mean().item()


def has_fallen(score: float, their_score: float, max_drop: float) -> bool:
    """Return whether `their_score`, from 0 to 1, is below `score` by more than `max_drop`; NaN counts as below.

    0.48 and 0.47 are 0.01 apart: the rounding error of their difference is not a drop.
    """
    return not score - their_score <= max_drop + _ROUNDING


@torch.inference_mode()
def verify(artifact: Path, exporter: Exporter, standard: Standard) -> Verification:
    """Compare an artifact, loaded through its exporter, with its standard on every test sample.

    Small batches of each size come first, then the rest in large ones. Scores may differ by `tolerance` times the
    largest score. An artifact that cannot be loaded or run is not ok, and the reason says why.
    """
    try:
        found = _find(artifact, exporter, standard)
    except (ModuleNotFoundError, ResourceError):
        raise
    except WrongOutputs as error:
        return Verification.unusable(exporter, size_of(artifact), str(error))
    except (Exception, SystemExit) as error:
        # A user's class may even call sys.exit(0): that verifies nothing.
        if of_the_machine(error):
            raise
        why = f"it cannot be run: {type(error).__name__}: {without_paths(str(error))[:300]}"
        return Verification.unusable(exporter, size_of(artifact), why)
    problem, num_samples = standard.problem, len(standard.test)
    compared = _compare(found, standard)
    reason = found.fault or _why_not(compared, exporter, problem.headline)
    return Verification(
        ok=reason is None,
        reason=reason,
        num_samples=num_samples,
        agreement=compared.agreement,
        max_abs_diff=compared.max_abs_diff,
        metric=problem.headline,
        metric_eager=compared.score,
        metric_artifact=compared.their_score,
        size_bytes=size_of(artifact),
        latency_ms_batch_1=found.theirs.latency_ms,
        latency_ms_batch_1_eager=standard.measured.latency_ms,
        samples_per_second=found.theirs.samples_per_second,
        samples_per_second_eager=standard.measured.samples_per_second,
        packages=found.packages,
        worst=[] if reason is None else _worst(found, compared.agrees, standard),
        **asked(exporter),
    )


def _find(artifact: Path, exporter: Exporter, standard: Standard) -> _Found:
    """Run both on the whole split. The artifact's metadata decides what its outputs are compared with."""
    loaded = exporter.load(artifact)
    try:
        metadata = loaded.metadata if isinstance(loaded, Isolated) else {}
        prepare = (lambda raw: raw) if exporter.preprocess else standard.preprocessing
        cells = standard.test.given if getattr(exporter, "takes_given", False) else None
        inputs = standard.test.inputs if cells is None else cells.tree(_input_names(loaded))
        theirs = run_on_split(loaded, inputs, prepare)
        packages = loaded.packages() if isinstance(loaded, Isolated) else None
    finally:
        if isinstance(loaded, Isolated):
            loaded.close()
    # What the artifact's outputs mean, and the network's outputs in the same form.
    said = metadata.get("output_kind", getattr(exporter, "output", "scores"))
    kind: Output = "probabilities" if said == "probabilities" else "scores"
    ours = standard.problem.final_layer(kind)(standard.measured.outputs)
    if theirs.outputs.shape != ours.shape:
        given, wanted = tuple(theirs.outputs.shape), tuple(ours.shape)
        raise WrongOutputs(f"it returns outputs of shape {given} for the test split, but its network {wanted}")
    return _Found(theirs, ours, kind, packages, _fault(metadata, standard, packages))


def _input_names(loaded: object) -> list[str]:
    """Return the names of the inputs of an artifact that takes samples as its callers have them."""
    assert isinstance(loaded, Isolated), "only such a format says the names of its inputs"
    return [node["name"] for node in loaded.signature["inputs"]]


def _fault(metadata: Mapping[str, str], standard: Standard, packages: Sequence[str] | None) -> str | None:
    """Return what is wrong with an artifact's metadata, or with the process that it ran in."""
    targets, fitted = standard.problem.targets.to_plain(), standard.problem.state_dict()
    said = {key: json.loads(metadata[key]) for key in ("targets", "problem") if key in metadata}
    if (theirs := said.get("targets", targets)) != targets:
        ours, others = (json.dumps(stated["names"], ensure_ascii=False)[:100] for stated in (targets, theirs))
        return f"it names the {targets['kind']} {others}, but they are {ours}"
    if "problem" in said and (theirs := said["problem"]["state"]) != fitted:
        ours, others = (json.dumps(state)[:100] for state in (fitted, theirs))
        return f"its metadata says that its problem was fitted to {others}, but it was fitted to {ours}"
    if packages is not None and "nnrun" in packages:
        return "it ran in a process that had imported nnrun, which does not show that it runs without nnrun"
    return None


def _compare(found: _Found, standard: Standard) -> _Comparison:
    """Compare the outputs of an artifact with the network's."""
    problem, targets = standard.problem, standard.test.targets
    ours, theirs = found.ours, found.theirs.outputs
    our_predictions, their_predictions = (_predictions(problem, outputs, found.output) for outputs in (ours, theirs))
    return _Comparison(
        agrees=problem.agreement(our_predictions, their_predictions),
        score=problem.score(our_predictions, targets),
        their_score=problem.score(their_predictions, targets),
        max_abs_diff=(ours - theirs).abs().max().item(),
        scale=max(1.0, ours.abs().max().item()),
    )


def _why_not(compared: _Comparison, exporter: Exporter, headline: str) -> str | None:
    """Return how an artifact breaks what its exporter promises; None if it does not."""
    difference, scale, agreement = compared.max_abs_diff, compared.scale, compared.agreement
    score, their_score = compared.score, compared.their_score
    max_drop = max_drop_of(exporter)
    # No comparison with NaN is true.
    if not difference <= exporter.tolerance * scale:
        return f"scores differ by {difference:.3g}, more than {exporter.tolerance:g} of the largest score {scale:.3g}"
    if agreement < exporter.min_agreement:
        return f"{agreement:.2%} of the predictions agree, fewer than {exporter.min_agreement:.2%}"
    if max_drop is not None and math.isnan(score):
        return f"{headline} of its network is NaN on the test split, so the artifact cannot be verified"
    if max_drop is not None and has_fallen(score, their_score, max_drop):
        return f"{headline} falls from {score:.4f} to {their_score:.4f}, by more than {max_drop:g}"
    return None


def _worst(found: _Found, agrees: Tensor, standard: Standard) -> list[dict[str, Any]]:
    """Return the samples that differ most: those with a different prediction first, then by their difference."""
    ours, theirs, targets = found.ours, found.theirs.outputs, standard.test.targets
    # NaN is the largest difference.
    distance = (ours - theirs).abs().flatten(1).amax(1).nan_to_num(nan=math.inf, posinf=math.inf)
    order = torch.where(agrees, distance, math.inf).argsort(descending=True, stable=True)
    worst = order[:_NUM_WORST]
    ours, theirs = (_predictions(standard.problem, outputs[worst], found.output) for outputs in (ours, theirs))
    return [
        {"index": index, **standard.problem.compare(our, their, targets[index])}
        for index, our, their in zip(worst.tolist(), ours, theirs, strict=True)
    ]


def _predictions(problem: Problem, outputs: Tensor, kind: Output) -> Tensor:
    """Return the predictions for outputs of an artifact, in fp64, so that scores that differ stay different."""
    outputs = outputs.double()
    return problem.predictions(outputs) if kind == "scores" else outputs


def size_of(artifact: Path) -> int:
    """Return the size in bytes of an artifact, a file or a folder of files."""
    files = artifact.rglob("*") if artifact.is_dir() else [artifact]
    return sum(file.stat().st_size for file in files if file.is_file())

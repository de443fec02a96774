"""Run one training step in fp32, watching every layer, and find where NaN or infinity begins."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import nnrun
from nnrun.core.device import Precision
from nnrun.core.nonfinite import are_finite
from nnrun.core.passes import make_update
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import mean_loss
from nnrun.core.state import TrainState
from nnrun.core.step import Step

# torch's anomaly detection: "Function 'LogBackward0' returned nan values in its 0th output."
_ANOMALY = re.compile(r"Function '(\w+?)(?:Backward\w*)?' returned nan values")
# A frame of the traceback of the forward pass that it prints.
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


@dataclass
class LayerReading:
    """What a layer did in the step: the largest magnitude of its output, and the norm of its gradients."""

    layer: str
    kind: str
    largest_output: float
    gradient_norm: float | None = None


@dataclass
class Findings:
    """The findings about a step. `begins` says in words where NaN or infinity begins; None where all is finite.

    `where` is weights, inputs, targets, forward, loss, backward, gradients or update; `layer` is the name of a layer,
    `operation` the operation of torch whose derivative is NaN, and `line` the place in the source that called it.
    `losses` are the losses of the samples, in order; `samples` are the numbers of those that are not finite themselves.
    """

    loss: float
    where: str | None = None
    begins: str | None = None
    layer: str | None = None
    operation: str | None = None
    line: str | None = None
    layers: list[LayerReading] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        return asdict(self)

    def found(self, where: str, begins: str, layer: str | None = None) -> None:
        """Keep the first place that is found: those after it follow from it."""
        if self.where is None:
            self.where, self.begins, self.layer = where, begins, layer


def run_in_fp32(step: Step, batches: Sequence[Batch], indices: range, num_samples: int) -> Findings:
    """Make the update from some batches again, in fp32 and with anomaly detection, and return what was found.

    The draws are seeded as in the training. The state is changed as by an update, and is of no use afterwards.
    """
    state = step.state
    state.precision, state.scaler = Precision("fp32", "to find where it begins"), None
    state.train_module = state.network
    found = Findings(loss=0.0)
    _examine_given(state, batches, found)
    watched = _Layers(state.network, found)
    with watched.watched():
        found.loss = _passes(step, batches, indices, num_samples, found)
    gradients = {name: p.grad for name, p in state.network.named_parameters() if p.grad is not None}
    norms = {name: float(gradient.double().norm()) for name, gradient in gradients.items()}
    if bad := [name for name, gradient in gradients.items() if not are_finite([gradient])]:
        watched.tell_of_backward()
        found.found("gradients", f"in the gradient of {bad[-1]}", bad[-1].rpartition(".")[0])
        if found.where == "backward":
            with _anomalies(found):
                _passes(step, batches, indices, num_samples, Findings(loss=0.0))
    for reading in found.layers:
        own = [norms[f"{reading.layer}.{name}"] for name in ("weight", "bias") if f"{reading.layer}.{name}" in norms]
        reading.gradient_norm = sum(norm**2 for norm in own) ** 0.5 if own else None
    if found.where is None:
        step.prepare()
        make_update(state)
        for name, parameter in state.network.named_parameters():
            if not are_finite([parameter]):
                found.found("update", f"in the optimizer's update of {name}", name.rpartition(".")[0])
    return found


def _examine_given(state: TrainState, batches: Sequence[Batch], found: Findings) -> None:
    """Find what is not finite before the step: weights, inputs, targets."""
    for name, tensor in state.network.state_dict().items():
        if not are_finite([tensor]):
            found.found("weights", f"before this step: {name} is not finite already", name.rpartition(".")[0])
    first = 0
    for batch in batches:
        for where, tree in (("inputs", batch.inputs), ("targets", batch.targets)):
            bad = _bad_samples(tree, batch.num_samples)
            found.samples += [first + index for index in bad]
            if bad:
                found.found(where, f"in the {where}")
        first += batch.num_samples


def _bad_samples(tree: Any, num_samples: int) -> list[int]:
    """Return the numbers of the samples that have a value that is not finite."""
    leaves = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    bad = [
        (~leaf[:num_samples].isfinite()).flatten(1).any(1) if leaf.dim() > 1 else ~leaf[:num_samples].isfinite()
        for leaf in leaves
    ]
    return torch.stack(bad).any(0).nonzero().flatten().tolist() if bad else []


def _passes(step: Step, batches: Sequence[Batch], indices: range, num_samples: int, found: Findings) -> float:
    """Do both passes of an update's batches, and return its loss."""
    state, objective, total = step.state, step.objective, 0.0
    state.optimizer.zero_grad(set_to_none=True)
    for index, batch in zip(indices, batches, strict=True):
        seed_step(state.device, state.seed, state.progress.epoch, state.world.stream(index))
        outputs = objective.loss.take(state.network(batch.inputs))
        losses = objective.losses(outputs, batch)
        loss = mean_loss(losses, batch, num_samples)
        found.losses += losses.detach()[: batch.num_samples].tolist()
        if not are_finite([outputs.detach()]):
            found.found("forward", "in the forward pass, after the last layer")
        if not are_finite([losses.detach()]):
            found.found("loss", "in the loss: the network's outputs are finite")
        loss.backward()
        total += float(loss.detach())
    return total


class _Layers:
    """Watch the layers of a network in both passes, in the order in which they are called."""

    def __init__(self, network: nn.Module, found: Findings) -> None:
        self._network, self._found = network, found
        # The layers whose output received a gradient, in the order of the backward pass, and whether it was finite.
        self._gradients: list[tuple[str, str, bool]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the passes in the block."""
        names = {module: name for name, module in self._network.named_modules() if name}

        def after(module: nn.Module, given: Any, output: Any) -> None:
            self._after(names[module], module, given, output)

        handles = [module.register_forward_hook(after) for module in names]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _after(self, name: str, module: nn.Module, given: Any, output: Any) -> None:
        """Look at what a layer received and returned."""
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        inputs = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
        if not outputs:
            return
        kind, is_leaf = type(module).__name__, not list(module.children())
        if not are_finite(outputs) and are_finite(inputs):
            self._found.found("forward", f"in the forward pass of layer {name} ({kind}): its input is finite", name)
        if is_leaf and not are_finite(inputs):
            before = self._found.layers[-1] if self._found.layers else None
            place = f"between layers {before.layer} ({before.kind}) and" if before else "before layer"
            self._found.found(
                "forward", f"in the forward pass {place} {name} ({kind}), whose input is not finite", name
            )
        if is_leaf:
            largest = max(float(leaf.detach().abs().max()) for leaf in outputs if leaf.numel())
            self._found.layers.append(LayerReading(name, kind, largest))
            for leaf in outputs:
                if leaf.requires_grad:
                    leaf.register_hook(lambda gradient: self._gradients.append((name, kind, are_finite([gradient]))))

    def tell_of_backward(self) -> None:
        """Find the layer in whose backward pass NaN or infinity begins: the last whose output's gradient was finite."""
        before: tuple[str, str] | None = None
        for name, kind, is_finite in self._gradients:
            if not is_finite:
                text = "of the loss" if before is None else f"of layer {before[0]} ({before[1]})"
                self._found.found("backward", f"in the backward pass {text}", before[0] if before else None)
                return
            before = name, kind
        if before is not None:
            # Its own parameters have gradients that are not finite, or what is before it has.
            text = f"in the backward pass of layer {before[0]} ({before[1]}), or before it"
            self._found.found("backward", text, before[0])


@contextmanager
def _anomalies(found: Findings) -> Iterator[None]:
    """Detect NaN in the backward pass of the block: keep the operation, and the user's line that called it."""
    with warnings.catch_warnings(record=True) as heard, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        try:
            yield
        except RuntimeError as error:
            named = _ANOMALY.search(str(error))
            if named is None:
                raise
            found.operation = named[1]
            found.line = _own_line("".join(str(warning.message) for warning in heard))


def _own_line(text: str) -> str | None:
    """Return the innermost frame of a traceback that is neither torch's nor nnrun's own."""
    others = (sys.prefix, str(Path(traceback.__file__).parent), str(Path(nnrun.__file__).parent), "<")
    own = [frame for frame in _FRAME.findall(text) if not frame[0].startswith(others) and frame[0] != sys.argv[0]]
    return f"{own[-1][0]}, line {own[-1][1]}" if own else None

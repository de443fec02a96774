"""The objective of a training: a problem, the loss of each sample, and the metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.base.shown import counted
from nnrun.core.outputs import members_of, parted
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Metric, Problem, Sums
from nnrun.core.transfer.layers import find_head


class SampleLoss:
    """A loss that returns one value per sample, and receives what its signature asks for.

    A parameter `inputs` receives the batch's inputs; `features` receives the features that the network returned beside
    its scores, or else the input of its head.
    """

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.loss = loss
        names = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters
        self.takes_inputs, self.takes_features = "inputs" in names, "features" in names
        # Why the head is unknown, if it is; a network that returns its features needs none.
        self._no_head: str | None = None
        self._features: Tensor | None = None
        self._members: Tensor | None = None

    def watch(self, network: nn.Module, num_outputs: int, head: str | None = None) -> RemovableHandle | None:
        """Keep the input of a network's head from now on, in fp32, until the loss is computed.

        `head` is its name, if known. Returns None if the loss takes no features, or the head is not found. Raises
        ConfigError if a head that is named is not found.
        """
        if not self.takes_features:
            return None
        try:
            name = find_head(network, num_outputs, head)
        except ConfigError as error:
            if head is not None:
                raise
            self._no_head = str(error)
            return None
        return network.get_submodule(name).register_forward_pre_hook(self._keep)

    def _keep(self, _head: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Keep the input of the head."""
        self._features = given[0].float()

    def take(self, outputs: Any) -> Any:
        """Return the scores in a network's output, in fp32; keep what is beside them until the loss is computed."""
        scores, features = parted(outputs)
        if features is not None and self.takes_features:
            self._features = features.float()
        members = members_of(outputs)
        self._members = None if members is None else members.float()
        return scores.float() if isinstance(scores, Tensor) else scores

    def forget(self) -> None:
        """Drop the features and the members of the last batch."""
        self._features = self._members = None

    def __call__(self, outputs: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each sample, `(N,)`; raise ConfigError if the loss returns anything else.

        If the network's members learn each on its own, it is the mean of their losses.
        """
        if (members := self._members) is not None:
            return self._of_members(members, targets)
        more = {"inputs": batch.inputs} if self.takes_inputs else {}
        if self.takes_features:
            if self._features is None:
                reason = self._no_head or (
                    "the network did not call the layer taken for its head; name the layer that returns the scores "
                    "with transfer.head=NAME"
                )
                raise ConfigError(
                    f"loss takes the input of the network's head, but {reason}, or let the network return "
                    "(scores, features)"
                )
            more["features"] = self._features
        with calling("loss"):
            losses = self.loss(outputs, targets, **more)
        _check_losses(losses, outputs)
        return losses

    def _of_members(self, members: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the members, whose scores are `(N, M, K)`, for each sample."""
        if self.takes_inputs or self.takes_features:
            raise ConfigError("loss takes inputs or features, which members of a network do not have; choose another")
        scores = members.flatten(0, 1)
        with calling("loss"):
            losses = self.loss(scores, targets.repeat_interleave(members.shape[1], 0))
        _check_losses(losses, scores)
        return losses.unflatten(0, members.shape[:2]).mean(1)


def _check_losses(losses: object, outputs: Tensor) -> None:
    """Raise ConfigError if no network can be trained with what a loss returned."""
    expected = (len(outputs),)
    if not isinstance(losses, Tensor) or losses.shape != expected:
        gives = tuple(losses.shape) if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
        hint = "; set the loss's reduction: none" if isinstance(losses, Tensor) else ""
        raise ConfigError(
            f"loss returns {gives} for a batch of {counted(len(outputs), 'sample')}; allowed: one value per sample, "
            f"{expected}{hint}"
        )
    if not losses.is_floating_point():
        dtype = str(losses.dtype).removeprefix("torch.")
        raise ConfigError(f"loss returns values of {dtype}; allowed: floats, which have gradients")
    if outputs.requires_grad and not losses.requires_grad and torch.is_grad_enabled():
        raise ConfigError(
            "loss returns values without a gradient: they do not depend on the network's outputs, or are cut off from "
            "them by detach(), rounding, a comparison or numpy"
        )


class Objective:
    """A problem with its loss, and the metrics of the group `metric` beside the problem's own."""

    def __init__(
        self,
        problem: Problem,
        loss: Callable[..., Tensor],
        metrics: Mapping[str, Metric] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        measured = problem.eval_metric.higher_is_better
        if clash := [name for name in metrics or () if name in measured]:
            raise ConfigError(f"metric={clash[0]} has the name of a metric of the problem; rename its option")
        self.problem = problem
        # Lines to print when a training starts.
        self.notes = tuple(notes)
        self.loss = SampleLoss(loss)
        self.train_metric = problem.train_metric
        self.eval_metric: Metric = MetricGroup(problem, metrics) if metrics else problem.eval_metric

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Whether higher is better, for each value of an evaluation for which that is known."""
        return self.eval_metric.higher_is_better

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each sample, `(N,)`; for a mixed sample, the losses of both targets by their shares.

        Raises ConfigError if the network or the loss returns something invalid.
        """
        learned = self.problem.learned
        self.problem.check_outputs(outputs, len(batch.targets))
        losses = self.loss(outputs, learned(batch.targets), batch)
        if batch.mixed is not None:
            others = self.loss(outputs, learned(batch.mixed.targets), batch)
            losses = torch.lerp(others, losses, batch.mixed.share)
        self.loss.forget()
        return losses


class MetricGroup:
    """The metrics of a problem, and those that a config adds, under their options' names.

    A value that a metric returns under its option's name, or as `value`, is `NAME`; any other is `NAME_KEY`.
    """

    def __init__(self, problem: Problem, added: Mapping[str, Metric]) -> None:
        self._problem, self._added = problem, added
        ways = {_full(name, key): way for name, metric in added.items() for key, way in _ways(name, metric).items()}
        self.higher_is_better: Mapping[str, bool] = {**ways, **problem.eval_metric.higher_is_better}

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        sums = dict(self._problem.eval_metric.init(device))
        for name, metric in self._added.items():
            with calling(f"metric.{name}"):
                own = metric.init(device)
            if not isinstance(own, Mapping) or not all(isinstance(total, Tensor) for total in own.values()):
                raise ConfigError(
                    f"metric.{name}: init returns {repr(own)[:100]}; allowed: a dict with a tensor for each name"
                )
            sums |= _named(own, name)
        return sums

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place."""
        self._problem.eval_metric.update(sums, outputs, losses, batch)
        predictions = self._problem.predictions(self._problem.scores(outputs))
        for name, metric in self._added.items():
            own = _own(sums, name)
            with calling(f"metric.{name}"):
                metric.update(own, predictions, losses, batch)
            sums |= _named(own, name)  # a metric that does not add in place has made new tensors

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name. Waits for the device."""
        values = dict(self._problem.eval_metric.compute(sums))
        for name, metric in self._added.items():
            with calling(f"metric.{name}"):
                own = metric.compute(_own(sums, name))
            for key, value in _numbers(name, own).items():
                full = _full(name, key)
                if full in values:
                    raise ConfigError(f"metric.{name} returns {full}, as another metric does; rename its option")
                values[full] = value
        return values


def _own(sums: Sums, name: str) -> Sums:
    """Return the sums of one metric of a group, under its own names."""
    return {key.removeprefix(f"{name}."): total for key, total in sums.items() if key.startswith(f"{name}.")}


def _named(own: Sums, name: str) -> Sums:
    """Return the sums of one metric under their names in the group."""
    return {f"{name}.{key}": total for key, total in own.items()}


def _full(name: str, key: str) -> str:
    """Return the full name of a metric's value, made of its option's name."""
    return name if key in (name, "value") else f"{name}_{key}"


def _numbers(name: str, given: object) -> dict[str, float]:
    """Return the numbers that a metric computed, by name; raise ConfigError if it returned anything else."""
    try:
        return {key: float(value) for key, value in given.items()}  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        text = f"metric.{name}: compute returns {repr(given)[:100]}; allowed: a dict with a number for each name"
        raise ConfigError(text) from error


def _ways(name: str, metric: Metric) -> Mapping[str, bool]:
    """Return whether higher is better, for each value for which a metric says so; raise ConfigError if malformed."""
    ways = getattr(metric, "higher_is_better", {})
    if not isinstance(ways, Mapping) or not all(isinstance(way, bool) for way in ways.values()):
        text = (
            f"metric.{name}: higher_is_better is {repr(ways)[:100]}; allowed: a dict with true or false for each name"
        )
        raise ConfigError(text)
    return ways

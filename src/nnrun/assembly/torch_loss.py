"""Adapt one of torch's losses, or a subclass of one, as a loss of nnrun's: one value per sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from nnrun.assembly.allowed import import_target
from nnrun.assembly.instantiate import build
from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.targets import Targets

# The kinds of targets that each loss of nnrun's, and each supported loss of torch's, is for.
Kinds = Mapping[str, Sequence[str]]

_MODULE = "torch.nn.modules.loss"
# Why torch's other losses are not supported. Networks return scores, and values are standardized for training.
_REFUSED = {
    "NLLLoss": "it takes log-probabilities; torch.nn.CrossEntropyLoss takes scores or log-probabilities",
    "BCELoss": "it takes probabilities; torch.nn.BCEWithLogitsLoss takes scores",
    "KLDivLoss": "it takes log-probabilities and distributions; torch.nn.CrossEntropyLoss takes scores and classes",
    "GaussianNLLLoss": "it takes a variance besides outputs and targets; write your own loss around it",
    "PoissonNLLLoss": "it takes counts, but values are standardized for training; write your own loss around it",
}
# Parameters for summing or averaging over the samples, which nnrun does.
_REDUCING = ("reduction", "size_average", "reduce")
# Lists of numbers, one per class or label, that torch takes as tensors.
_BY_OUTPUT = ("weight", "pos_weight")


def is_of_torch(found: Any) -> bool:
    """Return whether a class is one of torch's losses."""
    return isinstance(found, type) and found.__module__ == _MODULE


def check_loss(section: Mapping[str, Any], known: Kinds) -> list[Complaint]:
    """Return complaints about the loss of a section, if it is one of torch's, before data is read."""
    target = str(section.get("_target_"))
    found = import_target("loss", target) if target.startswith("torch.nn.") else None
    return list(_complaints(section, found, known)) if is_of_torch(found) else []


def _complaints(section: Mapping[str, Any], found: Any, known: Kinds) -> Iterator[Complaint]:
    """Yield complaints about a loss of torch's that does not take scores and targets, and about nnrun's settings."""
    if f"torch.nn.{found.__name__}" not in known:
        why = _REFUSED.get(found.__name__, "it takes other inputs than a network's scores and targets")
        target = section["_target_"]
        yield Complaint("loss._target_", f"loss._target_={target} is not allowed: {why}")
    yield from _reductions(section)
    for name in _BY_OUTPUT:
        if isinstance(section.get(name), str):
            hint = "nnrun's own losses support balanced: loss=cross_entropy, focal or bce"
            yield Complaint.of(f"loss.{name}", section[name], "null or a list of numbers", hint)


def _reductions(section: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield complaints about settings that sum or average over the samples."""
    for name in _REDUCING:
        if section.get(name) not in (None, "none"):
            yield Complaint.of(f"loss.{name}", section[name], "none: nnrun averages over the samples", "remove it")


def build_torch_loss(section: Mapping[str, Any], found: type, targets: Targets, known: Kinds) -> nn.Module:
    """Build a loss of torch's for some targets; raise ConfigError where it is for others."""
    if problems := list(_complaints(section, found, known)):
        raise ConfigError(*problems)
    kinds = known[f"torch.nn.{found.__name__}"]
    if targets.kind not in kinds:
        text = f"loss: torch.nn.{found.__name__} is for {' or '.join(kinds)}, but the data has {targets}"
        raise ConfigError(Complaint("loss", text))
    late: dict[str, Any] = {"reduction": "none"}
    for name in _BY_OUTPUT:
        if (given := section.get(name)) is None:
            continue
        if len(given) != targets.num_outputs:
            raise ConfigError.of(
                f"loss.{name}", given, f"a number for each of the {targets.num_outputs} {targets.kind}"
            )
        late[name] = torch.tensor(given, dtype=torch.float32)
    return PerSample(build(section, "loss", nn.Module, **late))


def unreduced(loss: nn.Module, section: Mapping[str, Any]) -> nn.Module:
    """Make a loss that derives from one of torch's return one value per sample; return it, or any other loss unchanged.

    Raises ConfigError where its section asks for a mean or a sum: nnrun averages over the samples.
    """
    if not isinstance(loss, _Loss):
        return loss
    if problems := list(_reductions(section)):
        raise ConfigError(*problems)
    loss.reduction = "none"
    loss.register_forward_hook(_average_places)
    return loss


def _average_places(_loss: nn.Module, _given: Any, losses: Any) -> Any:
    """Average a loss's output per sample: a forward hook, so that the parameters of `forward` stay visible."""
    return _mean_of_places(losses)


def _mean_of_places(losses: Any) -> Any:
    """Return the mean over the elements of a sample, such as its labels or values."""
    return losses.flatten(1).mean(1) if isinstance(losses, Tensor) and losses.dim() > 1 else losses


class PerSample(nn.Module):
    """Average a loss over the elements of a sample, such as its labels or values: one value per sample, `(N,)`."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _mean_of_places(self.loss(outputs, targets))  # type: ignore[no-any-return]

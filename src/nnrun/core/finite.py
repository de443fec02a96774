"""A loss that is NaN or infinite: found without waiting for the device, and stopped at or left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnrun.core.seams import Batch
from nnrun.errors import DivergedError


class Place(NamedTuple):
    """Which update of a training: its number, its epoch and its first batch in that epoch, all from 1."""

    step: int
    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"step {self.step:,} (epoch {self.epoch}, batch {self.batch})"


class FiniteWatch:
    """Judge the loss of every update on the device; what it found is read only at `check`.

    What was trained after the first bad one is lost, and never saved, because a check comes before each save.
    """

    def __init__(self, device: torch.device) -> None:
        self._alive = torch.ones((), dtype=torch.bool, device=device)
        # How many updates since the last check came before the one that ends the training, and where they were.
        self._num_good = torch.zeros((), dtype=torch.int64, device=device)
        self._places: list[Place] = []

    def keep(self, network: nn.Module) -> list[Tensor]:
        """Return what `settle` needs of the network before a batch: nothing here."""
        return []

    def settle(self, network: nn.Module, kept: list[Tensor], loss: Tensor, batch: Batch) -> Batch:
        """Judge one batch by its loss, a scalar on the device; return it as the metrics are to count it."""
        return batch

    def see(self, loss: Tensor, optimizer: Optimizer | None, place: Place) -> None:
        """Judge one update by its loss, a scalar on the device."""
        self._alive.logical_and_(torch.isfinite(loss))
        self._num_good.add_(self._alive)
        self._places.append(place)

    @property
    def good(self) -> Tensor | None:
        """Whether the newest update is to be made, a bool on the device; None where all of them are."""
        return None

    def check(self) -> None:
        """Raise DivergedError, naming the update, if one of those seen since the last check ends the training.

        Waits for the device.
        """
        if not self._alive.item():
            raise DivergedError(self._reason(self._places[int(self._num_good.item())]))
        self._num_good.zero_()
        self._places.clear()

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"the loss became NaN or infinite at {place}; try a lower optimizer.lr, trainer.grad_clip_norm=1.0, "
            "trainer.precision=fp32, or trainer.nonfinite=skip, which leaves such updates out"
        )

    @property
    def num_skipped(self) -> int:
        """How many updates were left out. Waits for the device."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from: nothing here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""


class SkippingWatch(FiniteWatch):
    """Have bad updates left out, until `max_in_a_row` of them come one after the other.

    An update is bad if its loss or its gradients are NaN or infinite. A bad batch does not count in the metrics, and
    leaves no trace in the network's buffers, such as BatchNorm's statistics.
    """

    def __init__(self, device: torch.device, max_in_a_row: int) -> None:
        super().__init__(device)
        self._good = torch.ones((), dtype=torch.bool, device=device)
        self._max_in_a_row = max_in_a_row
        # Updates left out, and of these the newest ones in a row.
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._in_a_row = torch.zeros((), dtype=torch.int64, device=device)

    def keep(self, network: nn.Module) -> list[Tensor]:
        """Return copies of the network's buffers."""
        return [buffer.clone() for buffer in network.buffers()]

    def settle(self, network: nn.Module, kept: list[Tensor], loss: Tensor, batch: Batch) -> Batch:
        """Put the buffers back if the loss is bad; return the batch, with no weight then."""
        good = torch.isfinite(loss)
        for buffer, before in zip(network.buffers(), kept, strict=True):
            buffer.copy_(torch.where(good, buffer, before))
        return batch._replace(weight=batch.weight * good)

    def see(self, loss: Tensor, optimizer: Optimizer | None, place: Place) -> None:
        """Judge one update by its loss, and by the gradients of `optimizer`, if they are not judged elsewhere."""
        self._good = torch.isfinite(loss)
        if optimizer is not None:
            gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
            self._good = self._good & torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        self._skipped.add_(~self._good)
        self._in_a_row.add_(1).mul_(~self._good)
        self._alive.logical_and_(self._in_a_row < self._max_in_a_row)
        self._num_good.add_(self._alive)
        self._places.append(place)

    @property
    def good(self) -> Tensor | None:
        """Whether the newest update is to be made, a bool on the device."""
        return self._good

    @property
    def num_skipped(self) -> int:
        """How many updates were left out. Waits for the device."""
        return int(self._skipped.item())

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"{self._max_in_a_row} updates in a row had a loss or gradients that are NaN or infinite, up to {place}; "
            "try a lower optimizer.lr, trainer.grad_clip_norm=1.0, or trainer.precision=fp32"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts that a resumed run goes on from. Waits for the device."""
        return {"skipped": self.num_skipped, "in_a_row": int(self._in_a_row.item())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the counts; of a run that left nothing out until now there are none."""
        self._skipped.fill_(state.get("skipped", 0))
        self._in_a_row.fill_(state.get("in_a_row", 0))


def step_if(good: Tensor, optimizer: Optimizer) -> None:
    """Make an optimizer's step if `good`, a bool on its device, without waiting for the device where torch can do so.

    That is where the optimizer is fused and its state exists: torch's kernels then take the flag that GradScaler gives
    them. (Of a first step that is left out, fused SGD would keep a momentum buffer that nobody filled.)
    """
    has_state = all(p in optimizer.state for p in _parameters(optimizer) if p.grad is not None)
    if getattr(optimizer, "_step_supports_amp_scaling", False) and has_state:
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        optimizer.found_inf = (~good).to(torch.float32)  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    elif good.item():  # waits for the device
        optimizer.step()


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """Return what an optimizer trains."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in these tensors is NaN or infinite. Waits for the device."""
    largest = [tensor.abs().max() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return not largest or bool(torch.isfinite(torch.stack([value.float() for value in largest])).all())

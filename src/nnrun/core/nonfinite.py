"""A loss that is NaN or infinite: found without waiting for the device, and stopped at or left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnrun.base.errors import DivergedError
from nnrun.core.multi_tensor import Snapshot
from nnrun.core.seams.batch import Batch
from nnrun.core.undo_step import can_be_undone, gradients_of, step_and_undo_unless, trained_by

# So many numbers are kept as they are: each takes a block of the device's memory, which many would fill.
_NUM_APART = 256


class Place(NamedTuple):
    """Which update of a training: its number, its epoch and its first batch in that epoch, all from 1."""

    step: int
    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"step {self.step:,} (epoch {self.epoch}, batch {self.batch})"


class FiniteWatch:
    """Note the loss of every update, on the device; whether they are finite is read only at `check`.

    What was trained after the first bad one is lost, and never saved, because a check comes before each save.
    """

    def __init__(self) -> None:
        # Numbers that must be finite, one an update since the last check, and where those updates were.
        self._numbers: list[Tensor] = []
        self._joined: list[Tensor] = []
        self._places: list[Place] = []
        self._end: Place | None = None

    def keep(self, network: nn.Module) -> None:
        """Keep what `settle` needs of the network before a batch: nothing here."""

    def settle(self, network: nn.Module, loss: Tensor, batch: Batch) -> Batch:
        """Judge one batch by its loss, a scalar on the device; return it as the metrics are to count it."""
        return batch

    def see(self, loss: Tensor, optimizer: Optimizer | None, place: Place, norm: Tensor | None = None) -> None:
        """Judge one update by its loss, a scalar on the device."""
        self._note(loss, place)

    def _note(self, number: Tensor, place: Place) -> None:
        """Keep a number until the next check."""
        self._numbers.append(number)
        self._places.append(place)
        if len(self._numbers) == _NUM_APART:
            self._joined.append(torch.stack(self._numbers))
            self._numbers.clear()

    @property
    def good(self) -> Tensor | None:
        """Whether the newest update is to be made, a bool on the device; None where all of them are."""
        return None

    def check(self) -> None:
        """Raise DivergedError, naming the update, if one of those seen since the last check ends the training.

        Waits for the device.
        """
        if self._numbers:
            self._joined.append(torch.stack(self._numbers))
        are_good = torch.isfinite(torch.cat(self._joined)).tolist() if self._joined else []  # waits for the device
        for is_good, place in zip(are_good, self._places, strict=True):
            if self._end is None and self._ends(is_good):
                self._end = place
        self._numbers, self._joined, self._places = [], [], []
        if self._end is not None:
            raise DivergedError(self._reason(self._end))

    def _ends(self, is_good: bool) -> bool:
        """Take up the next update in order; return whether it ends the training."""
        return not is_good

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"the loss became NaN or infinite at {place}; try a lower optimizer.lr, trainer.grad_clip_norm=1.0, "
            "trainer.precision=fp32, or trainer.nonfinite=skip, which leaves such updates out"
        )

    @property
    def num_skipped(self) -> int:
        """How many updates were left out until the last check."""
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
        super().__init__()
        self._good = torch.ones((), dtype=torch.bool, device=device)
        self._max_in_a_row = max_in_a_row
        # Updates left out, and of these the newest ones in a row.
        self._skipped, self._in_a_row = 0, 0

    def keep(self, network: nn.Module) -> None:
        """Keep what the network's buffers hold."""
        self._buffers = Snapshot(network.buffers())

    def settle(self, network: nn.Module, loss: Tensor, batch: Batch) -> Batch:
        """Put the buffers back if the loss is bad; return the batch, with no weight then."""
        good = _is_finite(loss)
        self._buffers.put_back_unless(good, network.buffers())
        return batch._replace(weight=batch.weight * good, is_full=False)

    def see(self, loss: Tensor, optimizer: Optimizer | None, place: Place, norm: Tensor | None = None) -> None:
        """Judge one update by its loss, and by the gradients of `optimizer`, if they are not judged elsewhere.

        `norm` is that of the gradients, where the caller has it.
        """
        if optimizer is not None:
            if norm is None:
                norm = torch.nn.utils.get_total_norm(gradients_of(optimizer))
            loss = loss + norm
        self._good = _is_finite(loss)
        self._note(loss, place)

    @property
    def good(self) -> Tensor | None:
        """Whether the newest update is to be made, a bool on the device."""
        return self._good

    def _ends(self, is_good: bool) -> bool:
        """Count the next update; return whether it is one bad one too many."""
        self._skipped += not is_good
        self._in_a_row = 0 if is_good else self._in_a_row + 1
        return self._in_a_row >= self._max_in_a_row

    @property
    def num_skipped(self) -> int:
        """How many updates were left out until the last check."""
        return self._skipped

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"{self._max_in_a_row} updates in a row had a loss or gradients that are NaN or infinite, up to {place}; "
            "try a lower optimizer.lr, trainer.grad_clip_norm=1.0, or trainer.precision=fp32"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts that a resumed run goes on from. Waits for the device."""
        self.check()
        return {"skipped": self._skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the counts; of a run that left nothing out until now there are none."""
        self._skipped, self._in_a_row = state.get("skipped", 0), state.get("in_a_row", 0)


def step_if(good: Tensor, optimizer: Optimizer) -> None:
    """Make an optimizer's step if `good`, a bool on its device; without waiting for the device where that can be.

    Fused kernels take the flag that GradScaler gives them. Of the other optimizers on a GPU, the step is made and taken
    back again, once their state is complete. What else there is waits for the device.
    """
    if _takes_a_flag(optimizer):
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        optimizer.found_inf = (~good).to(torch.float32)  # type: ignore[attr-defined]
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    elif good.device.type == "cuda" and can_be_undone(optimizer):
        step_and_undo_unless(good, optimizer)
    elif good.item():  # waits for the device
        optimizer.step()


def judged_by(scaler: torch.amp.GradScaler, optimizer: Optimizer) -> Tensor:
    """Return whether the gradients that a scaler has just unscaled are finite, a bool on the device."""
    first, *others = scaler._found_inf_per_device(optimizer).values()
    return sum(others, first) == 0


def _takes_a_flag(optimizer: Optimizer) -> bool:
    """Return whether an optimizer's own kernels leave a step out on a flag.

    Of a first step that is left out, fused SGD would keep a momentum buffer that nobody filled.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        return False
    has_buffers = isinstance(optimizer, torch.optim.SGD) and any(group["momentum"] for group in optimizer.param_groups)
    return not has_buffers or all(optimizer.state.get(p) for p in trained_by(optimizer))


def _is_finite(number: Tensor) -> Tensor:
    """Return whether a number is neither NaN nor infinite: in two launches, where torch.isfinite takes four."""
    return number * 0 == 0


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in these tensors is NaN or infinite. Waits for the device."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            groups.setdefault(tensor.dtype, []).append(tensor.detach())
    largest = [value.float() for group in groups.values() for value in torch._foreach_norm(group, float("inf"))]
    return not largest or bool(torch.isfinite(torch.stack(largest)).all())

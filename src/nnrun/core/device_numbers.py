"""The numbers of an update that change from one to the next, on the device, where a recording reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnrun.core.device import is_gpu
from nnrun.core.ema import Ema

# Settings of a group that differ while its optimizer makes an update.
_CHANGED = ("lr", "capturable")


class DeviceRates:
    """The learning rates of an optimizer's groups, and the share of an average.

    Only some of torch's optimizers read a learning rate from the device: the fused ones, and those that can be
    captured. For others it is one of the constants, as momentum is for all.
    """

    def __init__(self, optimizer: Optimizer, ema: Ema | None, device: torch.device) -> None:
        self._optimizer, self._ema, self._device = optimizer, ema, device
        self._rates = [
            torch.zeros((), device=device) if group.get("fused") or "capturable" in group else None
            for group in optimizer.param_groups
        ]
        self._there: list[float | None] = [None] * (len(self._rates) + 1)
        self._constants: list[dict[str, Any]] = []
        if ema:
            ema.share_there = torch.zeros((), device=device)

    def refresh(self) -> list[str]:
        """Put the numbers of the next update on the device; return which constants have changed since the last."""
        groups = self._optimizer.param_groups
        if not self._constants:
            self._prepare()
        for number, (group, rate) in enumerate(zip(groups, self._rates, strict=True)):
            if rate is not None:
                self._put(number, rate, float(group["lr"]))
        if self._ema and self._ema.share_there is not None:
            self._put(-1, self._ema.share_there, self._ema.share)
        pairs = list(zip(groups, self._constants, strict=True))
        changed = [key for group, constants in pairs for key, value in constants.items() if group[key] != value]
        if changed:
            self._constants = self._taken_for_constant()
        return changed

    def _prepare(self) -> None:
        """Move step counts on the host to the device, where the optimizer can keep them there."""
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                state = self._optimizer.state.get(parameter, {})
                if "capturable" in group and isinstance(state.get("step"), Tensor):
                    state["step"] = state["step"].to(self._device)
        # They are captured by us, not by who set the optimizer up: torch would warn of it at the other steps.
        for part in (self._optimizer, *getattr(self._optimizer, "_parts", ())):
            part._warned_capturable_if_run_uncaptured = True
        self._constants = self._taken_for_constant()

    def _taken_for_constant(self) -> list[dict[str, Any]]:
        """Return the settings of each group that a recording takes for constant."""
        constants = [
            {key: value for key, value in group.items() if key != "params"} for group in self._optimizer.param_groups
        ]
        for group, rate in zip(constants, self._rates, strict=True):
            if rate is not None:
                del group["lr"]
        return constants

    def _put(self, number: int, there: Tensor, value: float) -> None:
        """Write a number to the device, unless it is there already."""
        if self._there[number] != value:
            there.fill_(value)
            self._there[number] = value

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the optimizer read its learning rates from the device in the block, and keep its counts there."""
        groups = self._optimizer.param_groups
        before: list[dict[str, Any]] = [{key: group[key] for key in _CHANGED if key in group} for group in groups]
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                if rate is not None:
                    group["lr"] = rate
                if "capturable" in group and is_gpu(self._device):
                    group["capturable"] = True
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)

    def problem(self) -> str | None:
        """Return why the optimizer's updates cannot be replayed, or None: all its state must be on the device."""
        if self._optimizer._optimizer_step_pre_hooks or self._optimizer._optimizer_step_post_hooks:
            return "the optimizer has hooks, which run on the host"
        for parameter, state in self._optimizer.state.items():
            for name, value in state.items():
                is_there = isinstance(value, Tensor) and value.device == parameter.device
                if value is not None and not is_there:
                    return f"{type(self._optimizer).__name__} keeps its {name} on the host"
        return None

    def memory(self) -> dict[str, Tensor]:
        """Return the optimizer's state, by name."""
        names: dict[str, Tensor] = {}
        for number, state in enumerate(self._optimizer.state.values()):
            names |= {f"{name} of parameter {number}": value for name, value in state.items() if value is not None}
        return names

"""Muon for 2-D weights, AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from nnrun.core.device import has_fused_kernel
from nnrun.core.step_if import gradients_of, step_and_undo_unless, trained_by


def _fused(params: list[Tensor]) -> AdamW:
    return AdamW(params, fused=True)


class MuonWithAdamW(Optimizer):
    """Update 2-D parameters with Muon (kellerjordan.github.io/posts/muon) and all others with AdamW.

    Two torch optimizers do the work. This one owns their parameter groups and state, so that schedulers, gradient
    scalers and checkpoints see a single optimizer. Each given group is split in two, one for Muon with its 2-D
    parameters and one for AdamW with the others; Muon's groups come first.

    If AdamW is fused, a step accepts the attributes that torch.amp.GradScaler sets: `grad_scale` divides the gradients,
    and `found_inf` skips the step without waiting for the device.
    """

    def __init__(  # noqa: PLR0913 - each is a setting in the YAML
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        adamw_lr: float = 0.001,
        adamw_betas: tuple[float, float] = (0.9, 0.999),
        adamw_eps: float = 1e-8,
        adamw_weight_decay: float = 0.0,
    ) -> None:
        given: list[Any] = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        matrices = _part_of(groups, lambda param: param.ndim == 2)
        others = _part_of(groups, lambda param: param.ndim != 2)
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(
                Muon(
                    matrices,
                    lr=lr,
                    momentum=momentum,
                    nesterov=nesterov,
                    weight_decay=weight_decay,
                    ns_steps=ns_steps,
                )
            )
        if others:
            self._parts.append(
                AdamW(
                    others,
                    lr=adamw_lr,
                    betas=adamw_betas,
                    eps=adamw_eps,
                    weight_decay=adamw_weight_decay,
                    # torch rejects True without such a kernel; None lets it choose among the others
                    fused=True if has_fused_kernel(_fused, [p for group in others for p in group["params"]]) else None,
                )
            )
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._step_supports_amp_scaling = all(isinstance(part, Muon) or part.defaults["fused"] for part in self._parts)
        self._share()

    def _share(self) -> None:
        """Let both optimizers use this one's groups and state: the same dictionaries, not copies."""
        start = 0
        for part in self._parts:
            groups = self.param_groups[start : start + len(part.param_groups)]
            start += len(groups)
            # __setstate__ also adds the keys that a state of an older torch lacks.
            part.__setstate__({"state": self.state, "param_groups": groups})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group made by the constructor; neither optimizer would train another."""
        num_groups = sum(len(part.param_groups) for part in self._parts)
        assert len(self.param_groups) < num_groups, "MuonWithAdamW takes no further parameter groups"
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters; return the result of `closure`, which recomputes loss and gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf, grad_scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        for part in self._parts:
            if found_inf is None:
                part.step()
            elif isinstance(part, Muon):
                _step_muon_unless(found_inf, grad_scale, part)
            else:
                part.found_inf, part.grad_scale = found_inf, grad_scale  # type: ignore[attr-defined]
                part.step()
                del part.found_inf, part.grad_scale  # type: ignore[attr-defined]
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_parts": self._parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Optimizer.load_state_dict calls this with new groups and new state.
        super().__setstate__(state)
        self._share()


def _step_muon_unless(found_inf: Tensor, grad_scale: Tensor | None, muon: Muon) -> None:
    """Make Muon's step, and undo it if `found_inf` is not 0; Muon has no kernel that accepts these flags."""
    trained, gradients = trained_by(muon), gradients_of(muon)
    if not trained:
        return
    if grad_scale is not None:
        torch._foreach_div_(gradients, grad_scale)
    for param, gradient in zip(trained, gradients, strict=True):
        # As Muon initializes it, so that even the first step can be undone.
        if "momentum_buffer" not in muon.state[param]:
            muon.state[param]["momentum_buffer"] = torch.zeros_like(gradient, memory_format=torch.preserve_format)
    step_and_undo_unless(found_inf == 0, muon)


def _part_of(groups: Iterable[dict[str, Any]], belongs: Callable[[Tensor], bool]) -> list[dict[str, Any]]:
    """Return the groups with only the parameters that belong; drop empty groups."""
    parts = [{**group, "params": [param for param in group["params"] if belongs(param)]} for group in groups]
    return [part for part in parts if part["params"]]

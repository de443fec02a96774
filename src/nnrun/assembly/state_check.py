"""Compare a saved training state with a fresh one before anything of it is loaded.

torch loads states unchecked: a fused optimizer reads as many numbers of a state as the parameter has, even beyond its
end, and a schedule makes any name an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnrun.base.errors import ConfigError
from nnrun.base.visible import few
from nnrun.checkpoints.aliases import CALLBACKS
from nnrun.checkpoints.saveable import check_state
from nnrun.checkpoints.tensors import dtype_name
from nnrun.components.callbacks.own import OwnCallback
from nnrun.core.seams.callback import states_of
from nnrun.core.seams.training import Stateful
from nnrun.core.state import TrainState

# Settings for an optimizer's kernels: the machine decides, not the checkpoint.
_KERNELS = ("fused", "foreach", "capturable")
_MAX_NUMBER = 2**63


class Unlike(Exception):
    """A saved state does not fit this training; the message says where they differ."""


def fitted(
    state: TrainState, model: Any, training: Any, callbacks: Mapping[str, Stateful] | None = None
) -> dict[str, Any]:
    """Return a saved training state ready to load, with tensors laid out as the fresh training's.

    `model` are the weights saved with it. Raises Unlike where a name, a shape, a dtype or the type of a value differs
    from the fresh training's, which is left unchanged.
    """
    fresh = state.state_dict() | {"callbacks": states_of(callbacks or {})}
    if not isinstance(training, dict) or (odd := training.keys() ^ fresh.keys()) - {"watch", "epoch_sums", "grad_norm"}:
        raise Unlike(f"its training has different keys: {few(odd) if isinstance(training, dict) else 'none'}")
    check_tensors(model, state.evaluated.state_dict(), "model")
    for part in ("network", "scheduler", "ema_updates"):
        if (training[part] is None) != (fresh[part] is None):
            raise Unlike(f"{part} is {'missing' if training[part] is None else 'present, but this run has none'}")
    if state.ema:
        check_tensors(training["network"], fresh["network"], "network")
        check_like(training["ema_updates"], fresh["ema_updates"], "ema_updates")
    if state.schedule:
        _check_scheduler(training["scheduler"], state.schedule.scheduler, fresh["scheduler"])
    if state.scaler:
        check_like(training["scaler"], fresh["scaler"], "scaler")
    check_like(training.get("watch", {}), dict.fromkeys(training.get("watch", {}), 0), "watch")
    check_tensors(training["sums"], fresh["sums"], "sums")
    check_tensors(training.get("epoch_sums", fresh["epoch_sums"]), fresh["epoch_sums"], "epoch_sums")
    if training.get("grad_norm") is not None:
        _check_tensor(training["grad_norm"], torch.zeros(()), "grad_norm")
    return training | {
        "callbacks": _fitted_callbacks(training["callbacks"], fresh["callbacks"], callbacks or {}),
        "optimizer": _fitted_optimizer(training["optimizer"], state.optimizer),
    }


def _fitted_callbacks(
    saved: Any, fresh: Mapping[str, Any], callbacks: Mapping[str, Stateful]
) -> dict[str, dict[str, Any]]:
    """Return the saved states of this run's callbacks, by their current names.

    The state of a built-in callback that has one must have been saved; one of the group `callback` may have any plain
    state.
    """
    if not isinstance(saved, dict) or not all(isinstance(state, dict) for state in saved.values()):
        raise Unlike("callbacks is not a mapping from names to states")
    named = {CALLBACKS.get(name, name): state for name, state in saved.items()}
    for name, callback in callbacks.items():
        if not isinstance(callback, OwnCallback):
            if fresh[name]:
                check_like(named.get(name), fresh[name], f"callbacks.{name}")
        elif name in named:
            try:
                check_state(named[name], f"callbacks.{name}")
            except ConfigError as error:
                raise Unlike(str(error)) from error
    return {name: named[name] for name in callbacks if name in named}


def check_tensors(saved: Any, fresh: Mapping[str, Tensor], where: str) -> None:
    """Raise Unlike unless a mapping holds tensors of the same names, shapes and dtypes."""
    if not isinstance(saved, dict) or saved.keys() != fresh.keys():
        odd = saved.keys() ^ fresh.keys() if isinstance(saved, dict) else ()
        raise Unlike(f"{where} has different names: {few(odd) or 'none'}")
    for name, tensor in fresh.items():
        _check_tensor(saved[name], tensor, f"{where}.{name}")


def check_like(saved: Any, fresh: Any, where: str) -> None:
    """Raise Unlike unless a plain value has the same form: the same names and lengths, a number for a number.

    A fresh None, such as a best value before there is one, may have become a number or a text.
    """
    if isinstance(fresh, Mapping):
        if not isinstance(saved, dict) or saved.keys() != fresh.keys():
            odd = saved.keys() ^ fresh.keys() if isinstance(saved, dict) else ()
            raise Unlike(f"{where} has different names: {few(odd) or 'none'}")
        for key, value in fresh.items():
            check_like(saved[key], value, f"{where}.{key}")
    elif isinstance(fresh, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(fresh):
            raise Unlike(f"{where} does not have {len(fresh)} values")
        for index, (theirs, ours) in enumerate(zip(saved, fresh, strict=True)):
            check_like(theirs, ours, f"{where}[{index}]")
    elif isinstance(fresh, Tensor):
        _check_tensor(saved, fresh, where)
    elif not _is_alike(saved, fresh):
        raise Unlike(f"{where} is a {type(saved).__name__}, but should be a {type(fresh).__name__}")


def _is_alike(saved: Any, fresh: Any) -> bool:
    """Return whether two values have the same type; a fresh None may have become a number or a text."""
    if fresh is None:
        return saved is None or isinstance(saved, bool | str) or _is_number(saved)
    if isinstance(fresh, bool | str):
        return isinstance(saved, type(fresh))
    return _is_number(saved) if _is_number(fresh) else type(saved) is type(fresh)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that fits into 64 bits; booleans are not."""
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_NUMBER <= value < _MAX_NUMBER


def _check_tensor(saved: Any, fresh: Tensor, where: str) -> None:
    """Raise Unlike unless a value is a tensor of the same shape and dtype."""
    if not isinstance(saved, Tensor):
        raise Unlike(f"{where} is a {type(saved).__name__}, but should be a tensor")
    if saved.shape != fresh.shape or saved.dtype != fresh.dtype:
        raise Unlike(
            f"{where} is {dtype_name(saved)} of {tuple(saved.shape)}, but should be {dtype_name(fresh)} of "
            f"{tuple(fresh.shape)}"
        )


def _check_scheduler(saved: Any, scheduler: Any, fresh: Mapping[str, Any]) -> None:
    """Raise Unlike unless a schedule may load a state: torch makes each of its names an attribute.

    A name that the fresh schedule does not have must hold a plain value and must not hide one of its methods. A name
    that is missing, as in the state of an older torch, keeps the fresh value.
    """
    if not isinstance(saved, dict):
        raise Unlike(f"scheduler is a {type(saved).__name__}")
    for key, value in saved.items():
        if key in fresh:
            check_like(value, fresh[key], f"scheduler.{key}")
        elif not isinstance(key, str) or hasattr(type(scheduler), key) or key == "optimizer" or not _is_flat(value):
            raise Unlike(f"scheduler.{key} is not an attribute of the schedule")


def _is_flat(value: Any) -> bool:
    """Return whether a value is plain, or a list of plain values."""
    values = value if isinstance(value, list | tuple) else [value]
    return all(_is_alike(item, None) for item in values)


def _fitted_optimizer(saved: Any, optimizer: Optimizer) -> dict[str, Any]:
    """Return the saved state of an optimizer, its tensors laid out as the optimizer's own after a step."""
    fresh = optimizer.state_dict()
    if fresh.keys() != {"state", "param_groups"}:
        # A custom optimizer, whose state has another form.
        check_like(saved, fresh, "optimizer")
        return saved  # type: ignore[no-any-return]
    if not isinstance(saved, dict) or saved.keys() != fresh.keys() or not isinstance(saved["state"], dict):
        raise Unlike("optimizer lacks state or param_groups")
    groups, state = fresh["param_groups"], saved["state"]
    if not isinstance(saved["param_groups"], list) or len(saved["param_groups"]) != len(groups):
        raise Unlike(f"optimizer.param_groups does not have {len(groups)} groups")
    pairs = zip(saved["param_groups"], groups, strict=True)
    fitted_groups = [
        _fitted_group(theirs, ours, f"optimizer.param_groups[{i}]") for i, (theirs, ours) in enumerate(pairs)
    ]
    is_ours = type(optimizer).__module__.startswith(("torch.", "nnrun."))
    wanted = _after_a_step(optimizer)
    if wanted is None:
        if is_ours:
            raise Unlike("the optimizer cannot take a step")
        # A custom optimizer that needs more than gradients for a step: its state is not checked.
        wanted = {number: {} for number in range(sum(len(group["params"]) for group in groups))}
    if unknown := state.keys() - wanted.keys():
        raise Unlike(f"optimizer.state has parameters that this run does not train: {few(unknown)}")
    seen: set[int] = set()
    fitted_state = {}
    for number, entry in state.items():
        where, ours = f"optimizer.state[{number}]", wanted[number]
        if not isinstance(entry, dict) or (is_ours and entry.keys() != ours.keys()):
            raise Unlike(f"{where} has different names; expected {few(ours)}")
        fitted_state[number] = {
            key: _fitted_value(item, ours.get(key), f"{where}.{key}", seen) for key, item in entry.items()
        }
    return {"state": fitted_state, "param_groups": fitted_groups}


def _fitted_group(saved: Any, fresh: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of a parameter group: the saved values of those that can change in a training.

    A learning rate is a tensor where this machine needs one. A setting that is missing, as in the state of an older
    torch, keeps the fresh value.
    """
    if not isinstance(saved, dict):
        raise Unlike(f"{where} is a {type(saved).__name__}")
    group = dict(fresh)
    for key, value in saved.items():
        ours = fresh.get(key)
        if isinstance(ours, Tensor) and _is_number(value):
            group[key] = torch.full_like(ours, value)
        elif _is_number(ours) and isinstance(value, Tensor) and value.numel() == 1:
            group[key] = float(value)
        elif key == "params" and value != ours:
            raise Unlike(f"{where} has different parameters")
        elif key not in fresh and not _is_flat(value):
            raise Unlike(f"{where}.{key} is not a setting of the optimizer")
        elif key not in _KERNELS:
            check_like(value, ours, f"{where}.{key}")
            if isinstance(ours, bool | str) and value != ours:
                raise Unlike(f"{where}.{key} is {value!r}, but should be {ours!r}")
            group[key] = value
    return group


def _fitted_value(saved: Any, fresh: Any, where: str, seen: set[int]) -> Any:
    """Return one value of a parameter's state; a tensor has its own memory and the layout of the fresh one.

    A value that the fresh state of a custom optimizer lacks may be plain, or a tensor, which is taken as it is.
    """
    if fresh is None and not isinstance(saved, Tensor):
        if not _is_flat(saved):
            raise Unlike(f"{where} is a {type(saved).__name__}")
        return saved
    if not isinstance(saved, Tensor):
        check_like(saved, fresh, where)
        return saved
    if fresh is not None:
        check_like(saved, fresh, where)
    model = saved if fresh is None else fresh
    address = saved.untyped_storage().data_ptr()
    is_alone = saved.untyped_storage().nbytes() == saved.nbytes and address not in seen
    seen.add(address)
    if is_alone and saved.stride() == model.stride():
        return saved
    return torch.empty_like(model, device=saved.device).copy_(saved)


def _after_a_step(optimizer: Optimizer) -> dict[Any, dict[str, Any]] | None:
    """Return the state that an optimizer has after a step, by the number of the parameter; the weights are restored.

    The step's gradients are zeros. None if the step fails.
    """
    parameters: Sequence[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        after = optimizer.state_dict()["state"]
    except Exception:  # a custom optimizer may fail in any way
        return None
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        optimizer.zero_grad(set_to_none=True)
    return {number: dict(entry) for number, entry in after.items()}

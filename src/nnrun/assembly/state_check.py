"""Compare a saved state of a training with what a fresh one would have, before anything of it is taken up.

torch takes up what it is given: a fused optimizer reads as many numbers of a state as the parameter has, wherever they
end, and a schedule takes any name for an attribute.
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

# Which kernels an optimizer uses: the machine's choice, and not the checkpoint's.
_KERNELS = ("fused", "foreach", "capturable")
_MAX_NUMBER = 2**63


class Unlike(Exception):
    """A saved state is none that this training could have; the message says where they differ."""


def fitted(
    state: TrainState, model: Any, training: Any, callbacks: Mapping[str, Stateful] | None = None
) -> dict[str, Any]:
    """Return the saved state of a training as this one can take it up, tensors laid out as its own.

    `model` are the weights beside it. Raises Unlike where a name, a shape, a type or the kind of a value is another
    than the fresh training's, which is left as it was.
    """
    fresh = state.state_dict() | {"callbacks": states_of(callbacks or {})}
    if not isinstance(training, dict) or (odd := training.keys() ^ fresh.keys()) - {"watch", "epoch_sums", "grad_norm"}:
        raise Unlike(f"its training has other parts: {few(odd) if isinstance(training, dict) else 'none'}")
    check_tensors(model, state.evaluated.state_dict(), "model")
    for part in ("network", "scheduler", "ema_updates"):
        if (training[part] is None) != (fresh[part] is None):
            raise Unlike(f"{part} is {'missing' if training[part] is None else 'there, and this run has none'}")
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
    """Return the saved states of the callbacks that there are, by the names of today.

    One of ours that has a state must have been saved; of those of the group `callback` any plain state is taken.
    """
    if not isinstance(saved, dict) or not all(isinstance(state, dict) for state in saved.values()):
        raise Unlike("callbacks are not states by name")
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
    """Raise Unlike unless a mapping holds tensors of the same names, shapes and types."""
    if not isinstance(saved, dict) or saved.keys() != fresh.keys():
        odd = saved.keys() ^ fresh.keys() if isinstance(saved, dict) else ()
        raise Unlike(f"{where} has other names: {few(odd) or 'none'}")
    for name, tensor in fresh.items():
        _check_tensor(saved[name], tensor, f"{where}.{name}")


def check_like(saved: Any, fresh: Any, where: str) -> None:
    """Raise Unlike unless a plain value is of the same form: the same names and lengths, a number for a number.

    What is None, such as a best value before there is one, may have become a number or a text.
    """
    if isinstance(fresh, Mapping):
        if not isinstance(saved, dict) or saved.keys() != fresh.keys():
            odd = saved.keys() ^ fresh.keys() if isinstance(saved, dict) else ()
            raise Unlike(f"{where} has other names: {few(odd) or 'none'}")
        for key, value in fresh.items():
            check_like(saved[key], value, f"{where}.{key}")
    elif isinstance(fresh, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(fresh):
            raise Unlike(f"{where} is not {len(fresh)} values")
        for index, (theirs, ours) in enumerate(zip(saved, fresh, strict=True)):
            check_like(theirs, ours, f"{where}[{index}]")
    elif isinstance(fresh, Tensor):
        _check_tensor(saved, fresh, where)
    elif not _is_alike(saved, fresh):
        raise Unlike(f"{where} is a {type(saved).__name__}, and should be a {type(fresh).__name__}")


def _is_alike(saved: Any, fresh: Any) -> bool:
    """Return whether two values are of one kind; a fresh None may have become anything that is small."""
    if fresh is None:
        return saved is None or isinstance(saved, bool | str) or _is_number(saved)
    if isinstance(fresh, bool | str):
        return isinstance(saved, type(fresh))
    return _is_number(saved) if _is_number(fresh) else type(saved) is type(fresh)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that fits into 64 bits; true and false are none."""
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_NUMBER <= value < _MAX_NUMBER


def _check_tensor(saved: Any, fresh: Tensor, where: str) -> None:
    """Raise Unlike unless a value is a tensor of the same shape and type."""
    if not isinstance(saved, Tensor):
        raise Unlike(f"{where} is a {type(saved).__name__}, and should be a tensor")
    if saved.shape != fresh.shape or saved.dtype != fresh.dtype:
        raise Unlike(
            f"{where} is {dtype_name(saved)} of {tuple(saved.shape)}, and should be {dtype_name(fresh)} of "
            f"{tuple(fresh.shape)}"
        )


def _check_scheduler(saved: Any, scheduler: Any, fresh: Mapping[str, Any]) -> None:
    """Raise Unlike unless a schedule may take up a state: torch makes an attribute of each of its names.

    One that the fresh schedule does not have yet must be plain, and must not stand in for one of its methods. One that
    is missing, as in the state of an older torch, stays as it is.
    """
    if not isinstance(saved, dict):
        raise Unlike(f"scheduler is a {type(saved).__name__}")
    for key, value in saved.items():
        if key in fresh:
            check_like(value, fresh[key], f"scheduler.{key}")
        elif not isinstance(key, str) or hasattr(type(scheduler), key) or key == "optimizer" or not _is_flat(value):
            raise Unlike(f"scheduler.{key} is nothing that the schedule has")


def _is_flat(value: Any) -> bool:
    """Return whether a value is plain, or a list of such."""
    values = value if isinstance(value, list | tuple) else [value]
    return all(_is_alike(item, None) for item in values)


def _fitted_optimizer(saved: Any, optimizer: Optimizer) -> dict[str, Any]:
    """Return the saved state of an optimizer, its tensors laid out as the optimizer's own after a step."""
    fresh = optimizer.state_dict()
    if fresh.keys() != {"state", "param_groups"}:
        # One of the user's own, which has another form.
        check_like(saved, fresh, "optimizer")
        return saved  # type: ignore[no-any-return]
    if not isinstance(saved, dict) or saved.keys() != fresh.keys() or not isinstance(saved["state"], dict):
        raise Unlike("optimizer has no state and groups of parameters")
    groups, state = fresh["param_groups"], saved["state"]
    if not isinstance(saved["param_groups"], list) or len(saved["param_groups"]) != len(groups):
        raise Unlike(f"optimizer.param_groups are not {len(groups)}")
    pairs = zip(saved["param_groups"], groups, strict=True)
    fitted_groups = [
        _fitted_group(theirs, ours, f"optimizer.param_groups[{i}]") for i, (theirs, ours) in enumerate(pairs)
    ]
    is_ours = type(optimizer).__module__.startswith(("torch.", "nnrun."))
    wanted = _after_a_step(optimizer)
    if wanted is None:
        if is_ours:
            raise Unlike("the optimizer cannot make a step")
        # One of the user's own, which wants more for a step than gradients: what it keeps is its own affair.
        wanted = {number: {} for number in range(sum(len(group["params"]) for group in groups))}
    if unknown := state.keys() - wanted.keys():
        raise Unlike(f"optimizer.state is of parameters that this run does not train: {few(unknown)}")
    seen: set[int] = set()
    fitted_state = {}
    for number, entry in state.items():
        where, ours = f"optimizer.state[{number}]", wanted[number]
        if not isinstance(entry, dict) or (is_ours and entry.keys() != ours.keys()):
            raise Unlike(f"{where} has other names than {few(ours)}")
        fitted_state[number] = {
            key: _fitted_value(item, ours.get(key), f"{where}.{key}", seen) for key, item in entry.items()
        }
    return {"state": fitted_state, "param_groups": fitted_groups}


def _fitted_group(saved: Any, fresh: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of a group of parameters: the saved ones, of those that can change in a training.

    A learning rate is a tensor where the machine wants one. What is missing, as in the state of an older torch, is the
    fresh one's.
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
            raise Unlike(f"{where} is of other parameters")
        elif key not in fresh and not _is_flat(value):
            raise Unlike(f"{where}.{key} is nothing that the optimizer has")
        elif key not in _KERNELS:
            check_like(value, ours, f"{where}.{key}")
            if isinstance(ours, bool | str) and value != ours:
                raise Unlike(f"{where}.{key} is {value!r}, and should be {ours!r}")
            group[key] = value
    return group


def _fitted_value(saved: Any, fresh: Any, where: str, seen: set[int]) -> Any:
    """Return one value of a parameter's state, a tensor in memory of its own and laid out as the fresh one.

    What the fresh optimizer has not, one of the user's own may come to have: a plain value, or a tensor as it is.
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
    """Return the state that an optimizer has after a step, by the number of the parameter; its weights stay.

    Its gradients are zeros, and what it makes of them is forgotten. None where it makes none of them.
    """
    parameters: Sequence[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        after = optimizer.state_dict()["state"]
    except Exception:  # of the user's own, it may fail in any way
        return None
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        optimizer.zero_grad(set_to_none=True)
    return {number: dict(entry) for number, entry in after.items()}

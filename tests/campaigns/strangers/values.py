"""Values that grow, hide or act: what hostile files hold."""

from __future__ import annotations

import os
import pickle
import shlex
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from campaigns.strangers.kind import MODULE_NAME, Bench
from campaigns.strangers.torch_zip import Call

MLP = {
    "_target_": "nnrun.components.models.mlp.MLP",
    "in_shape": [1, 28, 28],
    "num_classes": 10,
    "hidden": [32],
    "dropout": 0.0,
}
FOREIGN = {"_target_": f"{MODULE_NAME}.Canary"}
MNIST = {"_target_": "nnrun.components.data.mnist.MNIST", "root": "/dev/zero", "download": False}


def touch(canary: Path) -> str:
    """Return the shell command that creates the canary."""
    return f"touch {shlex.quote(str(canary))}"


def calling(bench: Bench, protocol: int = 2) -> bytes:
    """Return a pickle that creates the canary."""
    return pickle.dumps(Call(os.system, touch(bench.canary)), protocol)


def called(bench: Bench) -> dict[str, bytes]:
    """Return the entries of a zip file whose pickle creates the canary."""
    return {"data.pkl": calling(bench), "version": b"3\n"}


def ordered(items: Mapping[str, Any], **attributes: Any) -> Call:
    """Return an OrderedDict, which a checkpoint may hold, some of whose methods are something else (BUILD)."""
    return Call(OrderedDict, rest=(attributes, None, iter(items.items())))


def bomb(levels: int) -> list[Any]:
    """Return a list that is small here, and has 10^levels values when it is written out."""
    value: list[Any] = ["x"] * 10
    for _ in range(levels - 1):
        value = [value] * 10
    return value


def deep(levels: int) -> list[Any]:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def holding_itself(width: int) -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.extend([value] * width)
    return value


def making(canary: Path) -> dict[str, Any]:
    """Return a section that creates the canary when it is instantiated; no list of evil names has this one."""
    return {"_target_": "torch.save", "obj": 1, "f": str(canary)}


def normalize(**changes: Any) -> dict[str, Any]:
    """Return a preprocessing."""
    return {"_target_": "nnrun.components.data.normalize.Normalize", "mean": [0.5], "std": [0.5]} | changes


def set_weight(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the change of weights by which the first number of the first is another."""

    def change(weights: dict[str, Any]) -> dict[str, Any]:
        name, weight = next(iter(weights.items()))
        changed = weight.clone()
        changed.view(-1)[0] = value
        return weights | {name: changed}

    return change


def make_pipe(path: Path) -> None:
    """Put a pipe in the place of a file: who opens it waits for ever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)

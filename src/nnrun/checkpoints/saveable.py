"""What a run can write, its own reader takes: asked of the reader before anything is trained.

A class or a setting that no checkpoint may hold would otherwise be found by whoever wants to read the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import ArtifactError, Complaint, ConfigError, DataError
from nnrun.checkpoints.payload import (
    MAX_THREADS,
    Payload,
    check_names,
    check_plain,
    checked_payload,
    with_schema,
    writable,
)
from nnrun.checkpoints.stored_tensors import DTYPE_BYTES, StoredTensor
from nnrun.checkpoints.tensors import dtype_name
from nnrun.checkpoints.zip_entries import Region

# What model.json has room for, which says both besides a little more.
MAX_NAMES_BYTES, MAX_CONFIG_BYTES = 2_500_000, 1_000_000
# On a line of its own in model.json.
_BYTES_AROUND_A_NAME = 8
# Deeper than any state is, and less deep than the reader goes.
_STATE_DEPTH = 32


def plain_names(names: Sequence[Any], source: str) -> tuple[str, ...]:
    """Return the names of classes as they are saved: what cannot be written, or tells a terminal something, escaped.

    Raises DataError where they are no texts, too long or too many for a checkpoint, or where two become one.
    """
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"data={source}: the class name {wrong!r} is a {type(wrong).__name__}, and must be a text")
    plain = tuple(map(writable, names))
    try:
        check_names(list(plain), f"data={source}: its list of classes")
    except ArtifactError as error:
        raise DataError(f"{error}; no checkpoint could hold it") from error
    num_bytes = sum(len(json.dumps(name)) + _BYTES_AROUND_A_NAME for name in plain)
    if num_bytes > MAX_NAMES_BYTES:
        raise DataError(
            f"data={source}: the names of its {len(plain):,} classes take {num_bytes:,} bytes, and a run has room for "
            f"{MAX_NAMES_BYTES:,}; shorten them"
        )
    if len(set(plain)) < len(set(names)):
        raise DataError(f"data={source}: two class names differ only in characters that no file can hold")
    return plain


def unsaveable(config: Mapping[str, Any]) -> list[Complaint]:
    """Complain of what a config holds that no checkpoint may."""
    problems = list(_refused("", config))
    num_bytes = 0 if problems else len(json.dumps(config))
    if num_bytes > MAX_CONFIG_BYTES:
        text = f"the config takes {num_bytes:,} bytes, and a checkpoint has room for {MAX_CONFIG_BYTES:,}"
        problems.append(Complaint("", text))
    return problems


def _refused(key: str, value: Any) -> Iterator[Complaint]:
    """Complain of a value that the reader refuses, or of what is in it."""
    try:
        check_plain(value, key or "the config")
    except ArtifactError as error:
        inside = value.items() if isinstance(value, Mapping) and all(isinstance(name, str) for name in value) else ()
        found = [wrong for name, item in inside for wrong in _refused(f"{key}.{name}".removeprefix("."), item)]
        yield from found or [Complaint(key, f"{error}; a run with it could not be resumed or evaluated")]


def check_readable(payload: Payload) -> None:
    """Raise ConfigError unless the reader takes what the checkpoints of a run will hold."""
    if payload["threads"] > MAX_THREADS:
        raise ConfigError(f"torch uses {payload['threads']:,} threads; set OMP_NUM_THREADS to {MAX_THREADS:,} or less")
    for name, value in payload["model"].items():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"the network's state_dict() has a {type(value).__name__} under {name!r}; a checkpoint holds tensors "
                "there: make it a buffer"
            )
        if value.layout != torch.strided or dtype_name(value) not in DTYPE_BYTES:
            raise ConfigError(f"the network's {name!r} is of the type {value.dtype}, which no checkpoint holds")
    try:
        checked_payload(_described(with_schema(payload)), Path("its checkpoint"))
    except ArtifactError as error:
        raise ConfigError(f"{error}; this run could not be resumed or evaluated") from error


def check_state(value: Any, where: str, depth: int = 0) -> None:
    """Raise ConfigError unless a state is tensors and plain values by name, as the reader of checkpoints takes them."""
    if depth == 0 and type(value) is not dict:
        raise ConfigError(f"{where} is a {_class_of(value)}, and must be a dict")
    if depth > _STATE_DEPTH:
        raise ConfigError(f"{where} is nested too deep")
    if type(value) is dict:
        for key, item in value.items():
            if type(key) not in (str, int):
                raise ConfigError(f"{where} has the key {key!r}, and a checkpoint takes texts and whole numbers")
            check_state(item, f"{where}[{key!r}]", depth + 1)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_state(item, f"{where}[{index}]", depth + 1)
    elif type(value) is Tensor:
        if value.layout != torch.strided or dtype_name(value) not in DTYPE_BYTES:
            odd = f"type {value.dtype}" if value.layout == torch.strided else f"layout {value.layout}"
            raise ConfigError(f"{where} is a tensor of the {odd}, which no checkpoint holds")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise ConfigError(
            f"{where} is a {_class_of(value)}; a checkpoint holds tensors, numbers, texts, and lists and dicts of them"
        )


def _class_of(value: object) -> str:
    """Return the full name of a value's class: `numpy.float64`."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _described(value: Any) -> Any:
    """Return a value with its tensors as the reader finds them described."""
    if isinstance(value, Tensor):
        return StoredTensor(dtype_name(value), tuple(value.shape), (), 0, Region(0, 0))
    if isinstance(value, dict):
        return {key: _described(item) for key, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, list | tuple) else value

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
from nnrun.base.host import MAX_THREADS
from nnrun.base.targets import SINGULAR, Kind
from nnrun.checkpoints.payload import (
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
# As many as a checkpoint's pickle has instructions.
_STATE_VALUES = 2**21


def plain_names(names: Sequence[Any], source: str, kind: Kind = "classes") -> tuple[str, ...]:
    """Return the names of targets as they are saved: what cannot be written, or tells a terminal something, escaped.

    Raises DataError where they are no texts, too long or too many for a checkpoint, or where two become one.
    """
    one = SINGULAR[kind]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"data={source}: the {one} name {wrong!r} is a {type(wrong).__name__}, and must be a text")
    plain = tuple(map(writable, names))
    try:
        check_names(list(plain), f"data={source}: its list of {kind}")
    except ArtifactError as error:
        raise DataError(f"{error}; no checkpoint could hold it") from error
    num_bytes = sum(len(json.dumps(name)) + _BYTES_AROUND_A_NAME for name in plain)
    if num_bytes > MAX_NAMES_BYTES:
        raise DataError(
            f"data={source}: the names of its {len(plain):,} {kind} take {num_bytes:,} bytes, and a run has room for "
            f"{MAX_NAMES_BYTES:,}; shorten them"
        )
    if len(set(plain)) < len(set(names)):
        raise DataError(f"data={source}: two {one} names differ only in characters that no file can hold")
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
        raise ConfigError(f"torch uses {payload['threads']:,} threads; set trainer.threads={MAX_THREADS} or less")
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


def check_state(state: Any, where: str) -> None:
    """Raise ConfigError unless a state is tensors and plain values by name, as the reader of checkpoints takes them."""
    if type(state) is not dict:
        raise ConfigError(f"{where} is a {_class_of(state)}, and must be a dict")
    num_values, pending = 0, [(where, state, 0)]
    while pending:
        place, node, depth = pending.pop()
        num_values += len(node)
        # A list may stand in many places: what is small in a file may be endless here.
        if depth > _STATE_DEPTH or num_values > _STATE_VALUES:
            raise ConfigError(f"{where} is nested too deep or has more than {_STATE_VALUES:,} values")
        for key, value in node.items() if type(node) is dict else enumerate(node):
            if type(key) not in (str, int):
                raise ConfigError(f"{place} has the key {key!r}, and a checkpoint takes texts and whole numbers")
            if type(value) in (dict, list, tuple):
                pending.append((f"{place}[{key!r}]", value, depth + 1))
            elif why := _not_plain(value):
                raise ConfigError(f"{place}[{key!r}] is {why}")


def _not_plain(value: object) -> str | None:
    """Return what a value is that no checkpoint holds, and why; None of a tensor, a number, a text or None."""
    if type(value) is Tensor:
        if value.layout != torch.strided:
            return f"a tensor of the layout {value.layout}, which no checkpoint holds"
        return None if dtype_name(value) in DTYPE_BYTES else f"a tensor of {value.dtype}, which no checkpoint holds"
    if value is None or type(value) in (bool, int, float, str):
        return None
    return f"a {_class_of(value)}; a checkpoint holds tensors, numbers, texts, and lists and dicts of them"


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

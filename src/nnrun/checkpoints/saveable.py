"""Check, before training, that the reader of checkpoints will accept the ones that a run writes.

Otherwise a class name or a setting that is not allowed in a checkpoint would be noticed only when it is read.
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
from nnrun.checkpoints.host_copy import is_expanded
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

# Limits so that both fit into model.json, which holds little else.
MAX_NAMES_BYTES, MAX_CONFIG_BYTES = 2_500_000, 1_000_000
# A name has its own line in model.json.
_BYTES_AROUND_A_NAME = 8
# Deeper than any state, and less deep than the reader's limit.
_STATE_DEPTH = 32
# The maximum number of instructions in a checkpoint's pickle.
_STATE_VALUES = 2**21


def plain_names(names: Sequence[Any], source: str, kind: Kind = "classes") -> tuple[str, ...]:
    """Return the names of targets as they are saved: control characters and invalid ones are escaped.

    Raises DataError where they are not strings, too long or too many for a checkpoint, or where two become equal.
    """
    one = SINGULAR[kind]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"data={source}: the {one} name {wrong!r} is a {type(wrong).__name__}, but must be a string")
    plain = tuple(map(writable, names))
    try:
        check_names(list(plain), f"data={source}: its list of {kind}")
    except ArtifactError as error:
        raise DataError(f"{error}; it cannot be saved in a checkpoint") from error
    num_bytes = sum(len(json.dumps(name)) + _BYTES_AROUND_A_NAME for name in plain)
    if num_bytes > MAX_NAMES_BYTES:
        raise DataError(
            f"data={source}: the names of its {len(plain):,} {kind} take {num_bytes:,} bytes, more than the maximum of "
            f"{MAX_NAMES_BYTES:,}; shorten them"
        )
    if len(set(plain)) < len(set(names)):
        raise DataError(f"data={source}: two {one} names differ only in characters that cannot be saved")
    return plain


def unsaveable(config: Mapping[str, Any]) -> list[Complaint]:
    """Return complaints about values of a config that are not allowed in a checkpoint."""
    problems = list(_refused("", config))
    num_bytes = 0 if problems else len(json.dumps(config))
    if num_bytes > MAX_CONFIG_BYTES:
        text = f"the config takes {num_bytes:,} bytes, but a checkpoint has room for {MAX_CONFIG_BYTES:,}"
        problems.append(Complaint("", text))
    return problems


def _refused(key: str, value: Any) -> Iterator[Complaint]:
    """Yield complaints about a value that the reader refuses, or about the values in it."""
    try:
        check_plain(value, key or "the config")
    except ArtifactError as error:
        inside = value.items() if isinstance(value, Mapping) and all(isinstance(name, str) for name in value) else ()
        found = [wrong for name, item in inside for wrong in _refused(f"{key}.{name}".removeprefix("."), item)]
        yield from found or [Complaint(key, f"{error}; a run with it could not be resumed or evaluated")]


def check_readable(payload: Payload) -> None:
    """Raise ConfigError unless the reader will accept the checkpoints of a run."""
    if payload["threads"] > MAX_THREADS:
        raise ConfigError(f"torch uses {payload['threads']:,} threads; set trainer.threads={MAX_THREADS} or less")
    for name, value in payload["model"].items():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"the network's state_dict() has a {type(value).__name__} under {name!r}, but a checkpoint holds only "
                "tensors there: make it a buffer"
            )
        if value.layout != torch.strided or dtype_name(value) not in DTYPE_BYTES:
            raise ConfigError(f"the network's {name!r} has the dtype {value.dtype}, which no checkpoint holds")
        if is_expanded(value):
            raise ConfigError(
                f"the network's {name!r} is expanded: its elements share memory, and torch cannot load such a buffer; "
                "register a copy, made with .contiguous()"
            )
    try:
        checked_payload(_described(with_schema(payload)), Path("its checkpoint"))
    except ArtifactError as error:
        raise ConfigError(f"{error}; this run could not be resumed or evaluated") from error


def check_state(state: Any, where: str) -> None:
    """Raise ConfigError unless a state is a dict of tensors and plain values that the reader of checkpoints accepts."""
    if type(state) is not dict:
        raise ConfigError(f"{where} is a {_class_of(state)}, but must be a dict")
    num_values, pending = 0, [(where, state, 0)]
    while pending:
        place, node, depth = pending.pop()
        num_values += len(node)
        # A list may be referred to many times: it is small in a file and may be endless here.
        if depth > _STATE_DEPTH or num_values > _STATE_VALUES:
            raise ConfigError(f"{where} is nested too deep or has more than {_STATE_VALUES:,} values")
        for key, value in node.items() if type(node) is dict else enumerate(node):
            if type(key) not in (str, int):
                raise ConfigError(f"{place} has the key {key!r}; allowed in a checkpoint: strings and integers")
            if type(value) in (dict, list, tuple):
                pending.append((f"{place}[{key!r}]", value, depth + 1))
            elif why := _not_plain(value):
                raise ConfigError(f"{place}[{key!r}] is {why}")


def _not_plain(value: object) -> str | None:
    """Return what a value is, and why no checkpoint holds it; None for a tensor, a number, a string or None."""
    if type(value) is Tensor:
        if value.layout != torch.strided:
            return f"a tensor with the layout {value.layout}, which no checkpoint holds"
        return None if dtype_name(value) in DTYPE_BYTES else f"a tensor of {value.dtype}, which no checkpoint holds"
    if value is None or type(value) in (bool, int, float, str):
        return None
    return f"a {_class_of(value)}; a checkpoint holds tensors, numbers, strings, and lists and dicts of these"


def _class_of(value: object) -> str:
    """Return the full name of a value's class: `numpy.float64`."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _described(value: Any) -> Any:
    """Return a value with its tensors described as the reader would see them."""
    if isinstance(value, Tensor):
        return StoredTensor(dtype_name(value), tuple(value.shape), (), 0, Region(0, 0))
    if isinstance(value, dict):
        return {key: _described(item) for key, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, list | tuple) else value

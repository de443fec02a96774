"""Resolve a composed config to plain values, and explain each value that cannot be resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.targets import Targets
from nnrun.config.copies import copy_of

# Settings of `data` that are known only once it is opened.
KNOWN_LATE = ("in_shape", "num_outputs", "num_classes", "facts")
_REFERENCE = re.compile(r"\$\{data\.(in_shape|facts)[.\[]([^{}:]+)\}")


def placeholders(config: DictConfig) -> dict[str, Any]:
    """Return placeholders for the values known only once the data is opened, so that all else can be checked before.

    Of the facts, and of shapes by name, they have those that the config refers to.
    """
    found: dict[str, Any] = {"in_shape": [1, 1, 1], "num_outputs": 2, "num_classes": 2, "facts": {}}
    for key, path in _REFERENCE.findall(str(OmegaConf.to_container(config, resolve=False))):
        names = path.replace("[", ".").replace("]", "").split(".")
        if key == "in_shape" and not names[0].isdecimal():
            found["in_shape"] = {} if isinstance(found["in_shape"], list) else found["in_shape"]
            found["in_shape"][names[0]] = [1, 1, 1]
        elif key == "facts":
            place = found["facts"]
            for name in names[:-1]:
                place[name] = place = place[name] if isinstance(place.get(name), dict) else {}
            place.setdefault(names[-1], 1)
    return found


def resolve(config: DictConfig, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the config as plain values; null settings of `data` get the values `known` from the data, or placeholders.

    Raises ConfigError where a section refers to a fact that the data does not have.
    """
    try:
        return _plain(_filled(config, placeholders(config) if known is None else known))
    except OmegaConfBaseException as error:
        if known is None:
            raise
        raise ConfigError(_unknown(str(error.full_key), str(error).splitlines()[0], known)) from error


def _plain(filled: DictConfig, *, may_miss: bool = True) -> dict[str, Any]:
    """Return a config as plain values; raise OmegaConf's errors where a reference, or else a value, is missing."""
    tree = OmegaConf.to_container(filled, resolve=True, throw_on_missing=not may_miss)
    assert isinstance(tree, dict)
    for key in KNOWN_LATE:
        tree["data"][key] = None if tree["data"].get(key) == "???" else tree["data"].get(key)
    return tree  # type: ignore[return-value]


def unfilled(tree: dict[str, Any], config: DictConfig) -> dict[str, Any]:
    """Put what a config says of its data in place of the placeholders in its plain values; return these."""
    for key in KNOWN_LATE:
        value = OmegaConf.select(config, f"data.{key}")
        tree["data"][key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return tree


def known_late(in_shape: Any, targets: Targets, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of `data` that are known once it is opened: `in_shape` is a shape, or shapes by name."""
    # Without classes, nothing may refer to their number.
    num_classes = targets.num_outputs if targets.kind == "classes" else "???"
    return {
        "in_shape": plain_shapes(in_shape),
        "num_outputs": targets.num_outputs,
        "num_classes": num_classes,
        "facts": dict(facts or {}),
    }


def plain_shapes(shapes: Any) -> Any:
    """Return a shape, or a tree of shapes, as plain values."""
    if isinstance(shapes, Mapping):
        return {name: plain_shapes(of) for name, of in shapes.items()}
    return [plain_shapes(of) for of in shapes] if isinstance(shapes, list | tuple) else shapes


def _unknown(key: str, reason: str, known: Mapping[str, Any]) -> Complaint:
    """Explain why a reference to the data cannot be resolved."""
    if "data.num_classes" in reason:
        text = f"{key} refers to data.num_classes, but the data has no classes; use ${{data.num_outputs}}"
        return Complaint(key, text)
    complaint = _unresolved(key, reason)
    if "data.facts." in reason:
        there = f"the data has {', '.join(known['facts'])}" if known["facts"] else "the data has no facts"
        complaint = replace(complaint, text=f"{complaint.text}; {there}")
    return complaint


def resolve_path(config: DictConfig, key: str, text: str) -> str:
    """Return a path of the command line with its references, such as `${seed}` or `${now:%H-%M}`, resolved.

    Raises ConfigError where one cannot be resolved.
    """
    if "${" not in text:
        return text
    # Values known only once the data is read cannot be part of a name.
    place = _filled(config, dict.fromkeys(KNOWN_LATE, "???"))
    OmegaConf.set_struct(place, False)
    name = "path of the command line"
    try:
        place[name] = text
        path = str(place[name])
    except RecursionError:
        raise ConfigError(_unresolved(key, "Recursive interpolation detected")) from None
    except OmegaConfBaseException as error:
        raise ConfigError(_unresolved(key, str(error).splitlines()[0], text)) from error
    for reference in re.findall(r"\$\{hydra:([^{},]*)\}", text):
        # Hydra's own resolver returns None for an unknown key.
        if OmegaConf.select(cast(DictConfig, HydraConfig.get()), reference, throw_on_missing=False) is None:
            raise ConfigError(Complaint(key, f"{key}={text} refers to hydra:{reference}, which is not known here"))
    return path


def _filled(config: DictConfig, data: Mapping[str, Any]) -> DictConfig:
    """Return a copy of the config with settings of its data section filled in where they are null."""
    filled = copy_of(config)
    for key, value in data.items():
        if OmegaConf.select(filled, f"data.{key}") is None:
            OmegaConf.update(filled, f"data.{key}", value, force_add=True)
    return filled


def _unresolved(key: str, reason: str, text: str = "") -> Complaint:
    """Explain why the reference at a key cannot be resolved, with OmegaConf's `reason`; `text` is the value given."""
    what = f"{key}={text}" if text else key
    if variable := re.search(r"Environment variable '([^']+)' not found", reason):
        return Complaint(key, f"{what} needs the environment variable {variable[1]}, which is not set")
    if reason.startswith("Recursive"):
        return Complaint(key, f"{what} refers to itself in a circle")
    if missing := re.search(r"Missing mandatory value: (\S+)", reason):
        return Complaint(key, f"{what} refers to {missing[1]}, which is not known here")
    if other := re.match(r"Interpolation key '([^']+)' not found", reason):
        return Complaint(key, f"{what} refers to {other[1]}, which does not exist")
    return Complaint(key, f"{what} cannot be resolved: {reason}")


def resolve_or_explain(config: DictConfig) -> tuple[dict[str, Any], list[Complaint]]:
    """Return the config as plain values, and a complaint of each value that is missing or whose reference fails.

    In place of such a value, the result and the config have null. What the data will say has placeholders.
    """
    found: list[Complaint] = []

    def visit(node: Any, prefix: str) -> None:
        for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
            full = f"{prefix}{key}"
            if OmegaConf.is_missing(node, key):
                found.append(Complaint(full, f"{full} must be given: it is ???; write {full}=..."))
            else:
                try:
                    value = node[key]
                    if OmegaConf.is_config(value) and not OmegaConf.is_interpolation(node, key):
                        visit(value, f"{full}.")
                    continue
                except RecursionError:
                    found.append(_unresolved(full, "Recursive interpolation detected"))
                except OmegaConfBaseException as error:
                    found.append(_unresolved(full, str(error).splitlines()[0]))
            node[key] = None

    # The data's shape is not known yet: placeholders let references to it be resolved.
    filled = _filled(config, placeholders(config))
    # Nearly all configs can be: looking at each value takes three times as long.
    with suppress(OmegaConfBaseException, RecursionError):
        return _plain(filled, may_miss=False), []
    visit(filled, "")
    for item in found:
        OmegaConf.update(config, item.key, None)
    return resolve(config), found

"""Turn a composed config into plain values, and say of each value that cannot be why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint, ConfigError

# Stand in for what is known once the data is opened, so that everything else can be resolved and checked before.
PLACEHOLDERS = {"in_shape": [1, 1, 1], "num_classes": 2}


def resolve(config: DictConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config as plain values, with `data.in_shape` and `data.num_classes` filled in where they are null."""
    tree = OmegaConf.to_container(_filled(config, data), resolve=True)
    assert isinstance(tree, dict)
    return tree  # type: ignore[return-value]


def resolve_path(config: DictConfig, key: str, text: str) -> str:
    """Return a typed path with its references, such as `${seed}` or `${now:%H-%M}`, replaced by what they stand for.

    Raises ConfigError where one leads nowhere.
    """
    if "${" not in text:
        return text
    # What is known only once the data is read cannot be part of a name.
    place = _filled(config, dict.fromkeys(PLACEHOLDERS, "???"))
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
        # Hydra's own resolver gives None for what it does not know.
        if OmegaConf.select(cast(DictConfig, HydraConfig.get()), reference, throw_on_missing=False) is None:
            raise ConfigError(Complaint(key, f"{key}={text} refers to hydra:{reference}, which is not known here"))
    return path


def _filled(config: DictConfig, data: Mapping[str, Any]) -> DictConfig:
    """Return a copy of the config with settings of its data section filled in where they are null."""
    filled = config.copy()
    for key, value in data.items():
        if OmegaConf.select(filled, f"data.{key}") is None:
            OmegaConf.update(filled, f"data.{key}", value, force_add=True)
    return filled


def _unresolved(key: str, reason: str, text: str = "") -> Complaint:
    """Say why the reference that stands at a key leads nowhere, from OmegaConf's words for it; `text` was typed."""
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


def explain_unresolvable(config: DictConfig) -> list[Complaint]:
    """Complain of each value that is missing or whose interpolation fails; null takes its place in the config."""
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

    # The data's shape is not known yet: what refers to it can be resolved all the same.
    visit(_filled(config, PLACEHOLDERS), "")
    for item in found:
        OmegaConf.update(config, item.key, None)
    return found

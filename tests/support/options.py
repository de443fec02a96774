"""What the tests of option files share: the options of a group, the class that each names, a state through a file."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf

from nnrun.config.folders import conf_dir


def option_sections(group: str) -> dict[str, dict[str, Any]]:
    """What each file of a group lists, by the option's name, references as they stand; `none` lists nothing."""
    files = [path for path in (conf_dir() / group).glob("*.yaml") if path.stem != "none"]
    return {path.stem: OmegaConf.to_container(OmegaConf.load(path), resolve=False) for path in files}


def target_and_parameters(section: Mapping[str, Any]) -> tuple[type, dict[str, Any]]:
    """The class that a section names, and the parameters that stand beside it."""
    parameters = dict(section)
    module, _, name = parameters.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), name), parameters


def through_a_file(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as it comes out of a checkpoint: written, and read without running code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)

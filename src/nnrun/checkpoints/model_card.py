"""What nnrun writes beside weights in safetensors: `model.json`, with what has no place among tensors.

It is a stranger's, as a checkpoint is: plain, small, and nothing in it acts. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.base.paths import is_private
from nnrun.base.targets import Targets
from nnrun.checkpoints.aliases import with_current_names
from nnrun.checkpoints.payload import check_names, check_plain, checked_targets, is_config

CARD_NAME = "model.json"
FORMAT, SCHEMA = "nnrun.safetensors", 1
# In the place of a path, in a config that is given away.
PATH_LEFT_OUT = "(a path, left out of the export)"
_MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Card:
    """The config of the run that the weights are of, and what a user of them needs to know."""

    config: Mapping[str, Any]
    targets: Targets
    preprocessing: Mapping[str, Any]
    # What its problem was fitted to, `Problem.state_dict()`; None in a file of before.
    problem: Mapping[str, Any] | None = None


def without_private_paths(value: Any) -> Any:
    """Return a tree of plain values in which each path that says where somebody keeps files is left out.

    One below the folder that the command was given in is told from there.
    """
    if isinstance(value, Mapping):
        return {key: without_private_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_private_paths(item) for item in value]
    if not isinstance(value, str) or not is_private(value):
        return value
    here, home = Path.cwd(), Path.home()
    is_below = Path(value).is_relative_to(here) and ".." not in Path(value).parts
    # Who stands above everybody's home would tell its name.
    return str(Path(value).relative_to(here)) if is_below and here not in home.parents else PATH_LEFT_OUT


def paths_left_out(value: Any, key: str = "") -> list[str]:
    """Return the full keys of the paths that a config which was given away lacks."""
    if isinstance(value, Mapping):
        return [name for k, item in value.items() for name in paths_left_out(item, f"{key}.{k}" if key else str(k))]
    if isinstance(value, list):
        return [name for item in value for name in paths_left_out(item, key)]
    return [key] if value == PATH_LEFT_OUT else []


def read_card(weights: OpenFile) -> Card | None:
    """Return what stands beside a file of weights; None where nothing of nnrun's does.

    Raises ArtifactError where it is damaged, holds what could act, or is of other weights: those that it names by their
    sha256 are meant.
    """
    path = weights.path.with_name(CARD_NAME)
    if not path.is_file():
        return None
    try:
        content = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
        value = json.loads(content)
    except (OSError, ValueError, RecursionError):
        # Of any origin: other tools write files of this name.
        return None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    # Until 0.2.0 it was called the version; it is written still, for those who read it.
    if (schema := value.get("schema", value.get("version"))) != SCHEMA:
        raise ArtifactError(f"{path} was written by a newer nnrun (schema {schema!r}); upgrade nnrun")
    targets = _targets_of(value.pop("targets", None), value.pop("class_names", None), path)
    check_plain(value, str(path))
    config, preprocessing, problem = (value.get(key) for key in ("config", "preprocessing", "problem"))
    if (
        not isinstance(config, dict)
        or not is_config(config)
        or not isinstance(preprocessing, dict)
        or not isinstance(preprocessing.get("_target_"), str)
        or not isinstance(problem, dict | None)
    ):
        raise ArtifactError(f"{path} does not say what nnrun says of weights; move it away to use the weights alone")
    if value.get("sha256") != weights.sha256:
        raise ArtifactError(f"{weights.path} is damaged, or is not what {path} is of: its sha256 is another")
    return Card(with_current_names(config), targets, with_current_names(preprocessing), problem)


def _targets_of(stated: Any, names: Any, path: Path) -> Targets:
    """Return what weights have learned; until 0.2.0 a card had `class_names` alone, which people read in it still."""
    if names is not None or stated is None:
        check_names(names, f"{path}: class_names")
    targets = Targets.classes(names) if stated is None else checked_targets(stated, f"{path}: targets")
    if names is not None and list(targets.names) != names:
        raise ArtifactError(f"{path} is refused: its targets have other names than its class_names")
    return targets

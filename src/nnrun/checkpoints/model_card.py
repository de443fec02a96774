"""The model card, `model.json`, which nnrun writes beside safetensors weights, with everything that is not a tensor.

It is as untrusted as a checkpoint: only small, inert, plain values are accepted. Needs no torch.
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
# Replaces a path in an exported config.
PATH_LEFT_OUT = "(a path, left out of the export)"
# It holds the tokenizer of a network of texts: those of large language models have up to 35 MB.
MAX_BYTES = 64_000_000


@dataclass(frozen=True)
class Card:
    """The config of the run that trained the weights, and the facts that their user needs."""

    config: Mapping[str, Any]
    targets: Targets
    preprocessing: Mapping[str, Any]
    # The fitted state of its problem, `Problem.state_dict()`; None in a file of an earlier version.
    problem: Mapping[str, Any] | None = None


def without_private_paths(value: Any) -> Any:
    """Return a tree of plain values in which private paths are replaced by a placeholder.

    A path below the working directory is written relative to it.
    """
    if isinstance(value, Mapping):
        return {key: without_private_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_private_paths(item) for item in value]
    if not isinstance(value, str) or not is_private(value):
        return value
    here, home = Path.cwd(), Path.home()
    is_below = Path(value).is_relative_to(here) and ".." not in Path(value).parts
    # From a working directory above the home directory, a relative path would reveal the user's name.
    return str(Path(value).relative_to(here)) if is_below and here not in home.parents else PATH_LEFT_OUT


def paths_left_out(value: Any, key: str = "") -> list[str]:
    """Return the full keys of the paths that are missing from an exported config."""
    if isinstance(value, Mapping):
        return [name for k, item in value.items() for name in paths_left_out(item, f"{key}.{k}" if key else str(k))]
    if isinstance(value, list):
        return [name for item in value for name in paths_left_out(item, key)]
    return [key] if value == PATH_LEFT_OUT else []


def read_card(weights: OpenFile) -> Card | None:
    """Return the card beside a file of weights; None if there is none of nnrun's.

    Raises ArtifactError where it is damaged, holds values that are not inert, or is for other weights, by their sha256.
    """
    path = weights.path.with_name(CARD_NAME)
    if not path.is_file():
        return None
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
        value = json.loads(content)
    except (OSError, ValueError, RecursionError):
        # Other tools write files of this name too.
        return None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    # Until 0.2.0 the key was `version`; it is still written, for those who read it.
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
        raise ArtifactError(f"{path} is not a valid model card of nnrun; move it away to use the weights alone")
    if value.get("sha256") != weights.sha256:
        raise ArtifactError(f"{weights.path} is damaged, or {path} is for other weights: the sha256 differs")
    return Card(with_current_names(config), targets, with_current_names(preprocessing), problem)


def _targets_of(stated: Any, names: Any, path: Path) -> Targets:
    """Return the targets that weights were trained on; until 0.2.0 a card had only `class_names`, which remain."""
    if names is not None or stated is None:
        check_names(names, f"{path}: class_names")
    targets = Targets.classes(names) if stated is None else checked_targets(stated, f"{path}: targets")
    if names is not None and list(targets.names) != names:
        raise ArtifactError(f"{path} is refused: its targets and its class_names have different names")
    return targets

"""What nnrun writes beside weights in safetensors: `model.json`, with what has no place among tensors.

It is a stranger's, as a checkpoint is: plain, small, and nothing in it acts. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.contents import check_plain
from nnrun.errors import ArtifactError
from nnrun.files import sha256_of

CARD_NAME = "model.json"
FORMAT, VERSION = "nnrun.safetensors", 1
_MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Card:
    """The config of the run that the weights are of, and what a user of them needs to know."""

    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Mapping[str, Any]


def read_card(weights: Path) -> Card | None:
    """Return what stands beside a file of weights; None where nothing of nnrun's does.

    Raises ArtifactError where it is damaged, holds what could act, or is of other weights: those that it names by their
    sha256 are meant.
    """
    path = weights.with_name(CARD_NAME)
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
    if value.get("version") != VERSION:
        raise ArtifactError(f"{path} was written by a newer nnrun (version {value.get('version')!r}); upgrade nnrun")
    check_plain(value, str(path))
    config, names, preprocessing = (value.get(key) for key in ("config", "class_names", "preprocessing"))
    if (
        not isinstance(config, dict)
        or not all(isinstance(config.get(key), dict) for key in ("model", "data", "loss", "trainer"))
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or not isinstance(preprocessing, dict)
        or not isinstance(preprocessing.get("_target_"), str)
    ):
        raise ArtifactError(f"{path} does not say what nnrun says of weights; move it away to use the weights alone")
    if value.get("sha256") != sha256_of(weights):
        raise ArtifactError(f"{weights} is damaged, or is not what {path} is of: its sha256 is another")
    return Card(config, tuple(names), preprocessing)

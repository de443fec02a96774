"""Read the metadata of an ONNX file. The file is untrusted: the values must be plain, few and small."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError
from nnrun.base.targets import Targets
from nnrun.checkpoints.aliases import with_current_names
from nnrun.checkpoints.model_card import MAX_BYTES
from nnrun.checkpoints.payload import check_names, check_plain, checked_targets
from nnrun.components.data.conversion import HOW_READ

PREFIX = "nnrun."
# Maximum size of one metadata entry. A preprocessing may hold a tokenizer: those of large language models have 35 MB.
_MAX_BYTES, _MAX_BYTES_OF = 4_000_000, {"preprocessing": MAX_BYTES}
# The problem of files without one: until 0.3.0 there was no other.
_CLASSIFICATION = "nnrun.components.problems.classification.Classification"


@dataclass(frozen=True)
class OnnxFacts:
    """The metadata of a network.

    `problem` and `preprocessing` are sections with a `_target_`, `fitted` is the fitted state of the problem, `inputs`
    are the names of the input tensors, if stated. `is_raw` is whether the network takes samples as stored, None if
    their type decides; `read_as` has the settings for reading image files, by name.
    """

    targets: Targets
    problem: Mapping[str, Any]
    fitted: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    inputs: tuple[str, ...] | None
    is_raw: bool | None
    is_probable: bool
    read_as: Mapping[str, str]


def facts_of(metadata: Mapping[str, str], path: Path) -> OnnxFacts:
    """Return the checked metadata of a file; raise ArtifactError where nnrun does not write such."""
    said = {key.removeprefix(PREFIX): text for key, text in metadata.items() if key.startswith(PREFIX)}
    if not {"class_names", "targets"} & set(said) or "preprocessing" not in said:
        raise ArtifactError(
            f"{path} was not exported by nnrun: it does not state its classes; export it with nnrun export=onnx ckpt="
        )
    targets = _targets(said, path)
    problem: dict[str, Any] = _section(said, "problem", path) if "problem" in said else {"_target_": _CLASSIFICATION}
    fitted = problem.pop("state", {})
    if not isinstance(fitted, dict):
        raise ArtifactError(f"{path} is damaged: the state of its {PREFIX}problem is not an object")
    inputs = _read(said, "inputs", path) if "inputs" in said else None
    if inputs is not None and (not isinstance(inputs, dict) or not inputs):
        raise ArtifactError(f"{path} is damaged: its {PREFIX}inputs name no tensors")
    return OnnxFacts(
        targets=targets,
        problem=problem,
        fitted=fitted,
        preprocessing=_section(said, "preprocessing", path),
        inputs=None if inputs is None else tuple(inputs),
        is_raw={"raw": True, "normalised": False}.get(said.get("input_kind", "")),
        is_probable=said.get("output_kind") == "probabilities",
        read_as={key: said[key] for key in HOW_READ if key in said},
    )


def _targets(said: Mapping[str, str], path: Path) -> Targets:
    """Return the targets that the network was trained on; until 0.3.0 a file had only `class_names`."""
    names = None
    if "class_names" in said:
        names = _parsed(said, "class_names", path)
        check_names(names, f"{path}: {PREFIX}class_names")
    targets = Targets.classes(names or ())
    if "targets" in said:
        targets = checked_targets(_parsed(said, "targets", path), f"{path}: {PREFIX}targets")
    if names is not None and list(targets.names) != names:
        raise ArtifactError(f"{path} is refused: its {PREFIX}targets and its {PREFIX}class_names have different names")
    if not targets.names:
        raise ArtifactError(f"{path} is damaged: its {PREFIX}class_names are not a list of strings")
    if "problem" not in said and targets.kind != "classes":
        raise ArtifactError(f"{path} is damaged: it was trained on {targets.kind}, but names no {PREFIX}problem")
    return targets


def _section(said: Mapping[str, str], key: str, path: Path) -> dict[str, Any]:
    """Return a section with a `_target_`."""
    section = _read(said, key, path)
    if not isinstance(section, dict) or not isinstance(section.get("_target_"), str):
        raise ArtifactError(f"{path} is damaged: its {PREFIX}{key} names no _target_")
    return dict(with_current_names(section))


def _read(said: Mapping[str, str], key: str, path: Path) -> Any:
    """Return an entry, checked to be inert plain values."""
    value = _parsed(said, key, path)
    check_plain(value, f"{path}: {PREFIX}{key}")
    return value


def _parsed(said: Mapping[str, str], key: str, path: Path) -> Any:
    """Return an entry, parsed from JSON."""
    if len(said[key]) > _MAX_BYTES_OF.get(key, _MAX_BYTES):
        raise ArtifactError(
            f"{path} is refused: its {PREFIX}{key} has {len(said[key]):,} characters; "
            "use the run that it is from, ckpt=RUN"
        )
    try:
        return json.loads(said[key])
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: its {PREFIX}{key} is not JSON") from error

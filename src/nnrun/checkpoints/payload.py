"""The content of a checkpoint: its keys, and checks that the values are plain, few, small, inert and complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypedDict, get_origin, get_type_hints

from nnrun.base.errors import CONTROL, ArtifactError
from nnrun.base.host import MAX_THREADS
from nnrun.base.targets import KINDS, Targets
from nnrun.checkpoints.manifest import CHECKPOINT_SCHEMA
from nnrun.checkpoints.safe_pickle import Inert
from nnrun.checkpoints.stored_tensors import StoredTensor

MAX_DEPTH = 32
MAX_NAMES = 100_000
# The maximum for a config, each value of which is visited many times: enough for a weight per class of ImageNet-21k.
MAX_VALUES = 25_000
MAX_CHARACTERS = 10_000
MAX_NUMBER = 2**63 - 1
# Characters that no file of nnrun's has: terminal control characters, and lone surrogates, which UTF-8 cannot encode.
UNWRITABLE = re.compile(f"{CONTROL.pattern}|[\ud800-\udfff]")
# Sections of a config that every run has, and optional ones.
_SECTIONS = ("model", "data", "loss", "trainer")
_OPTIONAL_SECTIONS = (
    *(
        "problem",
        "metric",
        "optimizer",
        "scheduler",
        "augment",
        "transfer",
        "early_stopping",
        "callback",
        "export",
        "logger",
        "report",
    ),
)
# Keys under which other trainers save the state dict.
_WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "net")
_WEIGHTS_DEPTH = 3


class _OfEachVersion(TypedDict):
    """The content of every checkpoint."""

    model: dict[str, Any]
    training: dict[str, Any]
    config: dict[str, Any]
    targets: dict[str, Any]
    preprocessing: dict[str, Any]
    data_fingerprint: str
    threads: int


class Payload(_OfEachVersion, total=False):
    """The content of a checkpoint by key: tensors when it is written, StoredTensor when it is read.

    `model` are the weights that are evaluated, `training` is from `TrainState.state_dict`, `targets` from
    `Targets.to_plain`, `seen` the samples that the training saw, `problem` the fitted state of the problem. The file
    also states its schema.

    A file of schema 1 has `class_names`, a list of the names of the classes, instead of `targets`: there were no other
    kinds of targets. No file has both.
    """

    seen: dict[str, Any]
    problem: dict[str, Any]


_SCHEMA_KEY = "schema"
_KINDS = {key: get_origin(hint) or hint for key, hint in get_type_hints(_OfEachVersion).items()}


def with_schema(payload: Payload) -> dict[str, Any]:
    """Return the content of a file: the payload and its schema."""
    return {_SCHEMA_KEY: CHECKPOINT_SCHEMA, **payload}


def is_checkpoint(content: Any) -> bool:
    """Return whether the content of a file claims to be a checkpoint of nnrun's, of any schema."""
    return isinstance(content, dict) and _SCHEMA_KEY in content


def checked_payload(content: Any, path: Path) -> Payload:
    """Return the content of a file, tensors as StoredTensor; raise ArtifactError unless it is a valid checkpoint."""
    schema = content.get(_SCHEMA_KEY) if isinstance(content, dict) else None
    if not _is_count(schema, 1):
        alone = " but weights alone; name their network with model=" if weights_in(content) is not None else ""
        raise ArtifactError(f"{path} is not a checkpoint of nnrun{alone}")
    if content[_SCHEMA_KEY] > CHECKPOINT_SCHEMA:
        raise ArtifactError(f"{path} was written by a newer nnrun (schema {schema}); upgrade nnrun")
    content = _with_targets(content)
    for key, kind in _KINDS.items():
        if not isinstance(content.get(key), kind):
            raise ArtifactError(f"{path} is not a checkpoint of nnrun: it has no {key}")
    if unknown := set(content) - {_SCHEMA_KEY, *Payload.__annotations__}:
        raise ArtifactError(f"{path} is not a checkpoint of nnrun: {len(unknown)} of its keys are unknown")
    payload: Payload = {key: content[key] for key in Payload.__annotations__ if key in content}  # type: ignore[assignment]
    progress = payload["training"].get("progress")
    checked_targets(payload["targets"], f"{path}: targets")
    plain = {"config": payload["config"], "preprocessing": payload["preprocessing"], "progress": progress}
    plain |= {"watch": payload["training"].get("watch", {}), "problem": payload.get("problem", {})}
    for key, value in plain.items():
        check_plain(value, f"{path}: {key}")
    if (
        not is_config(payload["config"])
        or not isinstance(payload["preprocessing"].get("_target_"), str)
        or not _is_state_dict(payload["model"])
        or not _is_count(payload["threads"], 1, MAX_THREADS)
        or not isinstance(plain["watch"], dict)
        or not isinstance(plain["problem"], dict)
        or not all(_is_count(count) for count in plain["watch"].values())
        or not _is_progress(progress)
        or not ("seen" not in payload or _is_seen(payload["seen"]))
    ):
        raise ArtifactError(f"{path} is not a checkpoint of nnrun: its record of the run is malformed")
    return payload


def _with_targets(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a file, with the class names of schema 1 as targets."""
    if "targets" in content or not isinstance(content.get("class_names"), list):
        return content
    others = {key: value for key, value in content.items() if key != "class_names"}
    return others | {"targets": {"kind": "classes", "names": content["class_names"]}}


def is_config(value: Any) -> bool:
    """Return whether a value has the sections of a run's config, each a mapping, `data.dataset` included."""
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), dict) for key in _SECTIONS)
        and all(isinstance(value.get(key), dict | None) for key in _OPTIONAL_SECTIONS)
        and isinstance(value["data"].get("dataset", {}), dict)
    )


def _is_seen(value: Any) -> bool:
    """Return whether a value lists the samples that a training saw, as assembly.data.seen writes it."""
    return (
        isinstance(value, dict)
        and "train" in value
        and all(
            part in ("train", "valid")
            and isinstance(seen, dict)
            and {"digests", "num_samples"} <= set(seen) <= {"digests", "num_samples", "groups"}
            and all(isinstance(seen[key], StoredTensor) for key in ("digests", "groups") if key in seen)
            and _is_count(seen["num_samples"])
            for part, seen in value.items()
        )
    )


def _is_progress(value: Any) -> bool:
    """Return whether a value is the progress of a training."""
    counts = ("epoch", "batch", "step", "num_rows", "logged_step")
    # Versions that validated only at the end of an epoch did not save the step of the newest validation.
    if not isinstance(value, dict) or set(value) - {"validated_step"} != {*counts, "best", "stop_reason"}:
        return False
    best, reason, validated = value["best"], value["stop_reason"], value.get("validated_step", 0)
    has_best = best is None or (
        isinstance(best, dict)
        and set(best) == {"value", "epoch", "step"}
        and isinstance(best["value"], float | int)
        and _is_count(best["epoch"])
        and _is_count(best["step"])
    )
    has_counts = all(_is_count(value[key]) for key in counts) and _is_count(validated)
    return has_counts and has_best and isinstance(reason, str | None)


def _is_count(value: Any, low: int = 0, high: int = MAX_NUMBER) -> bool:
    """Return whether a value is a whole number in a range."""
    return type(value) is int and low <= value <= high


def weights_in(payload: Any) -> list[tuple[str, ...]] | None:
    """Return where the state dicts are in a file of another trainer: the keys that lead there, `()` for the whole file.

    The usual keys come first, then the others in the file's order; None if there are none. Optimizer states are
    skipped.
    """
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), payload)]
    entered: set[int] = set()
    for keys, value in waiting:
        # Each dictionary is entered once: a file may refer to one many times.
        if not isinstance(value, dict) or id(value) in entered:
            continue
        entered.add(id(value))
        if any(isinstance(item, StoredTensor) and _is_name(key) for key, item in value.items()):
            found.append(keys)
        if len(keys) < _WEIGHTS_DEPTH:
            inside = [((*keys, key), item) for key, item in value.items() if isinstance(item, dict) and _is_name(key)]
            waiting += [(path, item) for path, item in inside if "optim" not in path[-1].lower()]
    return sorted(found, key=_usual_place) or None


def _usual_place(keys: tuple[str, ...]) -> int:
    """Return the rank of a place among the usual places of weights."""
    return _WEIGHT_KEYS.index(keys[-1]) if keys and keys[-1] in _WEIGHT_KEYS else len(_WEIGHT_KEYS)


def _is_name(key: Any) -> bool:
    """Return whether a key can be the name of a tensor or of a group."""
    return isinstance(key, str) and len(key) <= MAX_CHARACTERS and _is_writable(key)


def _is_state_dict(value: Any) -> bool:
    """Return whether a value is a non-empty mapping from names to tensors."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(tensor, StoredTensor) for tensor in value.values())
        and all(map(_is_name, value))
    )


def checked_targets(value: Any, where: str) -> Targets:
    """Return the targets that a file states; raise ArtifactError unless they are a known kind and names."""
    if type(value) is not dict or set(value) != {"kind", "names"} or not isinstance(value["kind"], str):
        raise ArtifactError(f"{where} is refused: it is not a kind and names")
    if value["kind"] not in KINDS:
        raise ArtifactError(
            f"{where} is refused: unknown kind {value['kind'][:60]!r}; this version knows {', '.join(KINDS)}; "
            "upgrade nnrun"
        )
    check_names(value["names"], where)
    return Targets(value["kind"], tuple(value["names"]))


def check_names(names: Any, where: str) -> None:
    """Raise ArtifactError unless `names` is a list of strings that can be written, not too many and not too long.

    They are data that nothing interpolates: `${` is literal.
    """
    if type(names) is not list or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{where} is refused: it is not a list of strings")
    if len(names) > MAX_NAMES:
        raise ArtifactError(f"{where} is refused: it has {len(names):,} names, more than the maximum of {MAX_NAMES:,}")
    for name in names:
        if not _is_name(name):
            raise ArtifactError(f"{where} is refused: {_unwritable(name)}")


def check_plain(value: Any, where: str) -> None:
    """Raise ArtifactError unless `value` is a small tree of inert, plain values."""
    num_values = 1
    pending = [(value, 0)]
    while pending:
        node, depth = pending.pop()
        # Counted before it is expanded: a list that holds itself a million times is small only in its file.
        if isinstance(node, dict | list | tuple):
            num_values += len(node) * (2 if isinstance(node, dict) else 1)
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            raise ArtifactError(f"{where} is refused: it is nested too deep or too large")
        if type(node) is dict:
            if not all(isinstance(key, str) for key in node):
                raise ArtifactError(f"{where} is refused: one of its keys is not a string")
            pending += [(key, depth + 1) for key in node] + [(item, depth + 1) for item in node.values()]
        elif type(node) is list:
            pending += [(item, depth + 1) for item in node]
        elif isinstance(node, str):
            if len(node) > MAX_CHARACTERS or not _is_writable(node):
                raise ArtifactError(f"{where} is refused: {_unwritable(node)}")
            if "${" in node:
                raise ArtifactError(f"{where} is refused: {node[:60]!r} contains '${{', which would be interpolated")
        elif type(node) is int and not -MAX_NUMBER <= node <= MAX_NUMBER:
            raise ArtifactError(f"{where} is refused: it holds a number that is too large")
        elif node is not None and type(node) not in (bool, int, float):
            kind = node.kind if isinstance(node, Inert) else type(node).__name__
            raise ArtifactError(f"{where} is refused: it holds a {kind}")


def writable(text: str) -> str:
    """Return a text with the characters that a file cannot hold escaped, as `\\x1b`."""
    return UNWRITABLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _is_writable(text: str) -> bool:
    """Return whether a text can be written to a file, and to a terminal without controlling it."""
    return UNWRITABLE.search(text) is None


def _unwritable(text: str) -> str:
    """Return why a text is refused, for a message: its length or a character."""
    if len(text) > MAX_CHARACTERS:
        return f"it has a string of {len(text):,} characters, more than the maximum of {MAX_CHARACTERS:,}"
    return "it has a string with control or invalid characters"

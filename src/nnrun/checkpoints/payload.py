"""What a checkpoint holds: its keys, and plain values, few, small and unable to act, each where nnrun saves it."""

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
# Of a config, whose every value is looked at many times: a weight for each class of ImageNet-21k is among them.
MAX_VALUES = 25_000
MAX_CHARACTERS = 10_000
MAX_NUMBER = 2**63 - 1
# What no file of nnrun's holds in a text: what a terminal obeys, and halves of characters, which UTF-8 cannot write.
UNWRITABLE = re.compile(f"{CONTROL.pattern}|[\ud800-\udfff]")
# Sections of a config that every run has, and those that a run may go without.
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
    ),
)
# Where trainers other than nnrun keep the state dict in what they save.
_WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "net")
_WEIGHTS_DEPTH = 3


class _OfEachVersion(TypedDict):
    """What every checkpoint holds."""

    model: dict[str, Any]
    training: dict[str, Any]
    config: dict[str, Any]
    targets: dict[str, Any]
    preprocessing: dict[str, Any]
    data_fingerprint: str
    threads: int


class Payload(_OfEachVersion, total=False):
    """What a checkpoint holds under which key: tensors when it is written, StoredTensor when it is read.

    `model` are the weights that are evaluated, `training` what `TrainState.state_dict` returns, `targets` what
    `Targets.to_plain` does, `seen` what the training saw of its data, `problem` what its problem was fitted to. Beside
    them the file states its schema.

    A file of schema 1 has `class_names`, a list, in the place of `targets`: the names of the classes, for there was
    nothing else to learn. No file has both.
    """

    seen: dict[str, Any]
    problem: dict[str, Any]


_SCHEMA_KEY = "schema"
_KINDS = {key: get_origin(hint) or hint for key, hint in get_type_hints(_OfEachVersion).items()}


def with_schema(payload: Payload) -> dict[str, Any]:
    """Return what a file holds: the payload, and by which schema."""
    return {_SCHEMA_KEY: CHECKPOINT_SCHEMA, **payload}


def is_checkpoint(content: Any) -> bool:
    """Return whether what a file holds is meant to be a checkpoint of nnrun's, of whatever schema."""
    return isinstance(content, dict) and _SCHEMA_KEY in content


def checked_payload(content: Any, path: Path) -> Payload:
    """Return what a file holds, tensors as StoredTensor; raise ArtifactError unless it is what nnrun saves of a run."""
    schema = content.get(_SCHEMA_KEY) if isinstance(content, dict) else None
    if not _is_count(schema, 1):
        alone = " but weights alone; name their network with model=" if weights_in(content) is not None else ""
        raise ArtifactError(f"{path} is not a checkpoint of nnrun{alone}")
    if content[_SCHEMA_KEY] > CHECKPOINT_SCHEMA:
        raise ArtifactError(f"{path} was written by a newer nnrun (schema {schema}); upgrade nnrun")
    content = _with_targets(content)
    for key, kind in _KINDS.items():
        if not isinstance(content.get(key), kind):
            raise ArtifactError(f"{path} is not a checkpoint of nnrun: it carries no {key}")
    if unknown := set(content) - {_SCHEMA_KEY, *Payload.__annotations__}:
        raise ArtifactError(
            f"{path} is not a checkpoint of nnrun: {len(unknown)} of its parts are none that nnrun saves"
        )
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
        raise ArtifactError(f"{path} is not a checkpoint of nnrun: what it says of its run is not whole")
    return payload


def _with_targets(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds; of one of schema 1 with its classes as targets."""
    if "targets" in content or not isinstance(content.get("class_names"), list):
        return content
    others = {key: value for key, value in content.items() if key != "class_names"}
    return others | {"targets": {"kind": "classes", "names": content["class_names"]}}


def is_config(value: Any) -> bool:
    """Return whether a value has the sections of a run's config, each a section, and a data set among the data's."""
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), dict) for key in _SECTIONS)
        and all(isinstance(value.get(key), dict | None) for key in _OPTIONAL_SECTIONS)
        and isinstance(value["data"].get("dataset", {}), dict)
    )


def _is_seen(value: Any) -> bool:
    """Return whether a value says which samples a training saw, as assembly.data.seen writes it."""
    return (
        isinstance(value, dict)
        and "train" in value
        and all(
            part in ("train", "valid")
            and isinstance(seen, dict)
            and set(seen) == {"digests", "num_samples"}
            and isinstance(seen["digests"], StoredTensor)
            and _is_count(seen["num_samples"])
            for part, seen in value.items()
        )
    )


def _is_progress(value: Any) -> bool:
    """Return whether a value says where a training stands."""
    counts = ("epoch", "batch", "step", "num_rows", "logged_step")
    # Files of versions that validated at an epoch's end alone do not tell of the newest validation.
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
    """Return where tensors by name stand in what another trainer saved: the keys that lead there, `()` for the whole.

    The usual keys come first, then the others in the file's order; None for nowhere. The optimizer's are passed over.
    """
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), payload)]
    entered: set[int] = set()
    for keys, value in waiting:
        # Each dictionary is entered once: in a file one may stand for many.
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
    """Return which of the places that weights usually have is named."""
    return _WEIGHT_KEYS.index(keys[-1]) if keys and keys[-1] in _WEIGHT_KEYS else len(_WEIGHT_KEYS)


def _is_name(key: Any) -> bool:
    """Return whether a key can be the name of a tensor or of a part."""
    return isinstance(key, str) and len(key) <= MAX_CHARACTERS and _is_writable(key)


def _is_state_dict(value: Any) -> bool:
    """Return whether a value is tensors by name."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(tensor, StoredTensor) for tensor in value.values())
        and all(map(_is_name, value))
    )


def checked_targets(value: Any, where: str) -> Targets:
    """Return what a file says is learned; raise ArtifactError unless it is a kind that this nnrun knows, and names."""
    if type(value) is not dict or set(value) != {"kind", "names"} or not isinstance(value["kind"], str):
        raise ArtifactError(f"{where} is refused: it is not a kind and names")
    if value["kind"] not in KINDS:
        raise ArtifactError(
            f"{where} is refused: this nnrun knows no kind {value['kind'][:60]!r} of them, only {', '.join(KINDS)}; "
            "upgrade nnrun"
        )
    check_names(value["names"], where)
    return Targets(value["kind"], tuple(value["names"]))


def check_names(names: Any, where: str) -> None:
    """Raise ArtifactError unless `names` is a list of texts that can be written, not too many and not too long.

    They are data, and nothing resolves them: `${` in one means itself.
    """
    if type(names) is not list or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{where} is refused: it is no list of texts")
    if len(names) > MAX_NAMES:
        raise ArtifactError(f"{where} is refused: {len(names):,} of them, and at most {MAX_NAMES:,} are read")
    for name in names:
        if not _is_name(name):
            raise ArtifactError(f"{where} is refused: it holds a text of {len(name):,} characters, or an odd one")


def check_plain(value: Any, where: str) -> None:
    """Raise ArtifactError unless `value` is a small tree of plain values in which nothing can act."""
    num_values = 1
    pending = [(value, 0)]
    while pending:
        node, depth = pending.pop()
        # Counted before it is listed: a list that holds itself a million times is small only in its file.
        if isinstance(node, dict | list | tuple):
            num_values += len(node) * (2 if isinstance(node, dict) else 1)
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            raise ArtifactError(f"{where} is refused: it is nested too deep or too large")
        if type(node) is dict:
            if not all(isinstance(key, str) for key in node):
                raise ArtifactError(f"{where} is refused: a key in it is no text")
            pending += [(key, depth + 1) for key in node] + [(item, depth + 1) for item in node.values()]
        elif type(node) is list:
            pending += [(item, depth + 1) for item in node]
        elif isinstance(node, str):
            if len(node) > MAX_CHARACTERS or not _is_writable(node):
                raise ArtifactError(f"{where} is refused: it holds a text of {len(node):,} characters, or an odd one")
            if "${" in node:
                raise ArtifactError(
                    f"{where} is refused: the text {node[:60]!r} holds '${{', which could act when read"
                )
        elif type(node) is int and not -MAX_NUMBER <= node <= MAX_NUMBER:
            raise ArtifactError(f"{where} is refused: it holds a number that is too large")
        elif node is not None and type(node) not in (bool, int, float):
            kind = node.kind if isinstance(node, Inert) else type(node).__name__
            raise ArtifactError(f"{where} is refused: it holds a {kind}")


def writable(text: str) -> str:
    """Return a text as a file can hold it: what it cannot is written as `\\x1b`."""
    return UNWRITABLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _is_writable(text: str) -> bool:
    """Return whether a text can be written to a file, and to a terminal without commanding it."""
    return UNWRITABLE.search(text) is None

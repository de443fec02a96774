"""How a run was measured, by its settings: runs that differ in it cannot be ranked by the same metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Settings that decide which samples are in the validation split; of the section `dataset`, all except those that decide
# how a sample is presented.
_SAMPLES = ("name", "root", "limit", "split_seed", "split_by", "val_fraction", "dataset")
_FOLDS = ("num_folds", "fold")
_KEYS = ("group", "time")
_SHOWING = (
    *("mean", "std", "image_size", "channels", "in_shape", "num_outputs", "num_classes", "facts"),
    *("download", "on_bad", "class_order", "white", "resize", "jpeg_draft", "targets"),
)


@dataclass(frozen=True)
class Yardstick:
    """How a job was measured: its loss and the settings that chose its validation samples, by full key; and its
    problem's main metric (higher is better), once it is known.
    """

    loss: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    headline: str | None = None

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Yardstick:
        """Return the yardstick of a job's resolved config."""
        data = tree.get("data")
        data = data if isinstance(data, Mapping) else {}
        chosen = {key: data[key] for key in _SAMPLES if key in data}
        if data.get("num_folds") is not None:
            chosen |= {key: data.get(key) for key in _FOLDS}
        chosen |= {key: data[key] for key in _KEYS if data.get(key) is not None}
        section = chosen.get("dataset")
        # A parameter of the user's own class may change its samples in any way.
        if isinstance(section, Mapping) and str(section.get("_target_")).startswith("nnrun."):
            chosen["dataset"] = {key: of for key, of in section.items() if key not in (*_SHOWING, *_KEYS)}
        return cls(dict(_flat(tree.get("loss"), "loss")), dict(_flat(chosen, "data")))


def _flat(node: Any, key: str) -> list[tuple[str, Any]]:
    """Return the settings of a section by full key."""
    if isinstance(node, Mapping):
        return [pair for name, value in node.items() for pair in _flat(value, f"{key}.{name}")]
    return [(key, node)]

"""What a network learns: the kind of the targets, and the names of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["classes", "labels", "values"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What one of each kind is called.
SINGULAR: dict[str, str] = {"classes": "class", "labels": "label", "values": "value"}


@dataclass(frozen=True)
class Targets:
    """What a network learns: one output for each name. `kind` says what the targets of `N` samples are.

    - `classes`: one of the names each, as its index, int64 `(N,)`;
    - `labels`: any number of the names each, or none, float32 `(N, K)` of 0 and 1;
    - `values`: a quantity for each name, float32 `(N, K)`.

    Two are equal if they mean the same outputs in the same order.
    """

    kind: Kind
    names: tuple[str, ...]

    @classmethod
    def classes(cls, names: Sequence[str]) -> Targets:
        """Return the targets of a classification: one class per sample."""
        return cls("classes", tuple(names))

    @classmethod
    def labels(cls, names: Sequence[str]) -> Targets:
        """Return the targets of a multi-label classification: several labels per sample, or none."""
        return cls("labels", tuple(names))

    @classmethod
    def values(cls, names: Sequence[str] = ("value",)) -> Targets:
        """Return the targets of a regression: a quantity for each name."""
        return cls("values", tuple(names))

    @property
    def num_outputs(self) -> int:
        """The number of outputs of a network for one sample."""
        return len(self.names)

    def __str__(self) -> str:
        return f"{self.num_outputs:,} {SINGULAR[self.kind] if self.num_outputs == 1 else self.kind}"

    def to_plain(self) -> dict[str, Any]:
        """Return them as plain values, for a file."""
        return {"kind": self.kind, "names": list(self.names)}

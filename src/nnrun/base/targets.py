"""What is learned: the kind of the targets, and the names of what a network gives for a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["classes", "labels", "values"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What one of them is called.
SINGULAR: dict[str, str] = {"classes": "class", "labels": "label", "values": "value"}


@dataclass(frozen=True)
class Targets:
    """What a network learns to give: a number for each name. Of a sample's target the kind says what it is.

    - `classes`: one of the names, int64 `(N,)`, its place among them;
    - `labels`: each name for itself holds or not, several at once or none, float32 `(N, K)` of 0 and 1;
    - `values`: a quantity for each name, float32 `(N, K)`.

    Two are equal where they mean the same outputs in the same order.
    """

    kind: Kind
    names: tuple[str, ...]

    @classmethod
    def classes(cls, names: Sequence[str]) -> Targets:
        """Return those of a classification: one class a sample."""
        return cls("classes", tuple(names))

    @classmethod
    def labels(cls, names: Sequence[str]) -> Targets:
        """Return those of which a sample may have several, or none."""
        return cls("labels", tuple(names))

    @classmethod
    def values(cls, names: Sequence[str] = ("value",)) -> Targets:
        """Return those of a regression: a quantity for each name."""
        return cls("values", tuple(names))

    @property
    def num_outputs(self) -> int:
        """How many numbers a network gives for a sample."""
        return len(self.names)

    def __str__(self) -> str:
        return f"{self.num_outputs:,} {SINGULAR[self.kind] if self.num_outputs == 1 else self.kind}"

    def to_plain(self) -> dict[str, Any]:
        """Return what a file says of them."""
        return {"kind": self.kind, "names": list(self.names)}

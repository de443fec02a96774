"""What is learned: the kind of the targets, and the names of what a network gives for a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["classes"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Targets:
    """What a network learns to give: of `classes` a score for each, and a sample's target is the number of its class.

    Two are equal where they mean the same outputs in the same order.
    """

    kind: Kind
    names: tuple[str, ...]

    @classmethod
    def classes(cls, names: Sequence[str]) -> Targets:
        """Return those of a classification: one class a sample, int64 `(N,)`, the place of its name."""
        return cls("classes", tuple(names))

    @property
    def num_outputs(self) -> int:
        """How many numbers a network gives for a sample."""
        return len(self.names)

    def __str__(self) -> str:
        return f"{self.num_outputs:,} {self.kind}"

    def to_plain(self) -> dict[str, Any]:
        """Return what a file says of them."""
        return {"kind": self.kind, "names": list(self.names)}

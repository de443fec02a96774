"""A network's output for a batch: scores alone, or with the features that a loss takes, or with those of members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# The keys of a dict that a network returns. Members, `(N, M, K)`, are the scores of parts of it that each learn
# on their own; the scores `(N, K)` combine them.
SCORES, FEATURES, MEMBERS = "scores", "features", "members"


def parted(outputs: Any) -> tuple[Any, Tensor | None]:
    """Return the scores, and the features if any, of a pair of tensors or a dict; anything else unchanged."""
    if isinstance(outputs, Mapping) and SCORES in outputs:
        return outputs[SCORES], outputs.get(FEATURES)
    if isinstance(outputs, tuple | list) and len(outputs) == 2 and all(isinstance(part, Tensor) for part in outputs):
        return outputs[0], outputs[1]
    return outputs, None


def scores_of(outputs: Any) -> Any:
    """Return the scores in a network's output."""
    return parted(outputs)[0]


def members_of(outputs: Any) -> Tensor | None:
    """Return the scores of members in a network's output, `(N, M, K)`; None if it has none."""
    return outputs.get(MEMBERS) if isinstance(outputs, Mapping) and SCORES in outputs else None

"""The words that resume a run of which the checked config is at hand, as a sweep does with its jobs."""

from __future__ import annotations

from pathlib import Path

from nnrun.assembly.allowed import SHIPPED_ROOTS, targets_in
from nnrun.base.secrets import is_secret
from nnrun.config.composed import Composed


def words_to_resume(composed: Composed, run: Path) -> list[str]:
    """Return the words that resume a run in its directory; `composed` is its config as it was started.

    What a checkpoint does not say is given again: the user's own classes are trusted, as they were, and secrets.
    """
    tree = composed.resolved()
    own = {target.rpartition(".")[0] for target in targets_in(tree) if not target.startswith(SHIPPED_ROOTS)}
    trusted = sorted(own | set(tree["trust"]))
    words = [f"resume={run}"] + ([f"trust=[{','.join(trusted)}]"] if trusted else [])
    return words + [
        item.word for item in composed.typed if not item.is_group and is_secret(item.key.rpartition(".")[2])
    ]

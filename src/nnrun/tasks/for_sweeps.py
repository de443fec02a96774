"""What a sweep needs for its jobs: their number of threads, how exports are verified, and the words to resume one."""

from __future__ import annotations

from pathlib import Path

import torch

from nnrun.assembly.allowed import SHIPPED_ROOTS, targets_in
from nnrun.assembly.preflight import check_for_elsewhere, check_job
from nnrun.base.secrets import is_secret
from nnrun.config.composed import Composed
from nnrun.proof.forked import begin_forking, end_forking

__all__ = ("EXPORTER", "begin_forking", "check", "end_forking", "use_threads", "verify_by_forks", "words_to_resume")

# The exporter whose files are verified by processes that can be forked.
EXPORTER = "nnrun.components.exporters.onnx.OnnxExporter"


def use_threads(number: int) -> None:
    """Let this process compute with so many threads, unless its job says otherwise; none is started before it does."""
    torch.set_num_threads(number)


def verify_by_forks(composed: Composed | None) -> None:
    """Have the exports of a job, and of those that follow, verified in processes that are forked, if it has any."""
    if composed is not None and any(str(it["_target_"]) == EXPORTER for it in composed.resolved()["export"].values()):
        begin_forking()


def check(composed: Composed, *, is_here: bool) -> None:
    """Run the checks of a job that need torch; those of the device only if it runs on this machine, `is_here`.

    Raises ConfigError, ArtifactError or ResourceError.
    """
    if is_here:
        check_job(composed)
    else:
        check_for_elsewhere(composed)


# Whether a run that was left without its test is tested now.
_TEST = "trainer.test"


def words_to_resume(composed: Composed, run: Path) -> list[str]:
    """Return the words that resume a run in its directory; `composed` is its config as it was started.

    What a checkpoint does not say is given again: the user's own classes are trusted, as they were, and secrets.
    """
    tree = composed.resolved()
    own = {target.rpartition(".")[0] for target in targets_in(tree) if not target.startswith(SHIPPED_ROOTS)}
    trusted = sorted(own | set(tree["trust"]))
    words = [f"resume={run}"] + ([f"trust=[{','.join(trusted)}]"] if trusted else [])
    again = [
        it for it in composed.typed if it.key == _TEST or (not it.is_group and is_secret(it.key.rpartition(".")[2]))
    ]
    return words + [item.word for item in again]

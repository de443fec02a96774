"""What `ckpt=`, `resume=` or `init_from=` names: the file that it stands for, and the config in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.lock import check_free
from nnrun.base.paths import expanded, is_there
from nnrun.checkpoints.latest import latest_link, put_back
from nnrun.checkpoints.locate import Located, locate
from nnrun.checkpoints.model_card import Card, read_card
from nnrun.checkpoints.read import holds_weights_alone, peek
from nnrun.config.from_checkpoint import as_meant
from nnrun.config.overrides import Typed
from nnrun.config.task import Task

SOURCE_KEYS = ("ckpt", "resume", "init_from")
# The suffix of an artifact that can predict, and of one that failed its proof.
ARTIFACT_SUFFIX, REJECTED_SUFFIX = ".onnx", ".rejected"


@dataclass(frozen=True)
class Source:
    """What one of SOURCE_KEYS names: the file that it stands for, and the config in it, if it is nnrun's own."""

    key: str
    checkpoint: Located
    config: Mapping[str, Any] | None
    # What stands beside weights that nnrun exported.
    card: Card | None = None

    @property
    def weights_alone(self) -> bool:
        """Whether it is a state dict, and no checkpoint."""
        return self.card is not None or (self.config is None and not self.is_artifact)

    @property
    def is_artifact(self) -> bool:
        """Whether it is an exported network, which says by itself what a prediction must know."""
        return self.checkpoint.path.suffix == ARTIFACT_SUFFIX

    @property
    def saved(self) -> Mapping[str, Any] | None:
        """The config that this invocation goes on from: a new run takes no more than weights."""
        return None if self.key == "init_from" else self.config

    @property
    def saved_in(self) -> Path | None:
        """The checkpoint that this invocation's config came out of, if it did."""
        return None if self.saved is None else self.checkpoint.path


def source_word(values: Sequence[Typed], task: Task | None) -> Typed | None:
    """Return the word that names the checkpoint to start from; None too where the words, or the task, exclude it.

    What they exclude is reported by the check of the whole config, with all else that is wrong in it.
    """
    last = {item.key: item for item in values}
    named = [last[key] for key in SOURCE_KEYS if key in last and last[key].value is not None]
    is_excluded = len(named) != 1 or (task is not None and named[0].key in task.excludes)
    return None if is_excluded else named[0]


def lacking_words(weights: Path, chosen: set[str], task: Task | None) -> list[Complaint]:
    """Return what the words must name besides weights alone, which carry no config."""
    if task is not None and task.refuses_weights is not None:
        return [Complaint("ckpt", task.refuses_weights.format(weights))]
    lacks = f"{weights} holds weights alone: name their network with model=, and data= besides"
    return [] if "model" in chosen else [Complaint("model", lacks)]


def read_source(named: Typed, task: Task | None, tasks: Sequence[Task]) -> Source:
    """Find the file that a word stands for, and read the config in it; some of the tasks alone take an artifact.

    Raises ArtifactError where the file is not what the word asks for.
    """
    path = expanded(str(named.value))
    if named.key == "resume" and is_there(path) and path.is_file():
        raise ConfigError(f"resume={path} is a file; name its run directory, or start a new run with init_from=")
    lost = put_back(path) if path.name == latest_link().name and is_there(path.parent) else None
    if lost and named.key == "resume":
        raise ArtifactError(f"{lost}; there is nothing to resume in it: start it again")
    if named.key == "resume":
        # A run under way saves new checkpoints and removes old ones: it would look damaged.
        check_free(path)
    checkpoint = locate(path, "last" if named.key == "resume" else "best")
    if lost:
        checkpoint = replace(checkpoint, notes=(lost, *checkpoint.notes))
    if checkpoint.path.suffix == REJECTED_SUFFIX:
        raise ArtifactError(f"{path} failed its proof: verification.json beside it says why")
    if checkpoint.path.suffix == ARTIFACT_SUFFIX:
        if task is None or not task.takes_artifact:
            takers = " and ".join(f"task={other.name}" for other in tasks if other.takes_artifact)
            raise ArtifactError(f"{path} is an exported network, which only {takers} takes; name its run instead")
        return Source(named.key, checkpoint, None)
    if not holds_weights_alone(checkpoint.path):
        return Source(named.key, checkpoint, as_meant(peek(checkpoint.path)["config"]))
    card = read_card(checkpoint.path)
    return Source(named.key, checkpoint, as_meant(card.config) if card else None, card)

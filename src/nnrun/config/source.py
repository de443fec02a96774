"""The source that `ckpt=`, `resume=`, `init_from=` or `repeat=` names: its file and the content of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.files import read_record
from nnrun.base.lock import check_free
from nnrun.base.paths import expanded, is_there
from nnrun.checkpoints.latest import latest_link, put_back
from nnrun.checkpoints.locate import Located, has_finished_empty, locate
from nnrun.checkpoints.read import read_run, read_saved
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.config.from_checkpoint import as_meant_then
from nnrun.config.overrides import Typed
from nnrun.config.task import Task
from nnrun.config.typed_paths import SOURCE_KEYS

# The suffix of an artifact that can predict, and of one that failed verification.
ARTIFACT_SUFFIX, REJECTED_SUFFIX = ".onnx", ".rejected"


@dataclass(frozen=True)
class Source:
    """The source that one of SOURCE_KEYS names: the intact file, and its content; an exported network is not read."""

    key: str
    located: Located
    saved: SavedWeights | None
    # The initial weights of the run that is repeated, if it had any.
    start: SavedWeights | None = None
    # Whether the run's callbacks, augmentation, loggers and exports are this invocation's too.
    keeps_named: bool = False

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The config that this invocation starts from; a new run (`init_from=`) takes only the weights."""
        return self.saved.config if isinstance(self.saved, SavedNetwork) and self.key != "init_from" else None

    @property
    def saved_in(self) -> Path | None:
        """The file that this invocation's config comes from, if any."""
        return None if self.config is None else self.located.path


def source_word(values: Sequence[Typed], task: Task | None) -> Typed | None:
    """Return the word that names the checkpoint to start from; None also where other words, or the task, exclude it.

    The check of the whole config reports that, with all other mistakes.
    """
    last = {item.key: item for item in values}
    named = [last[key] for key in SOURCE_KEYS if key in last and last[key].value is not None]
    is_excluded = len(named) != 1 or (task is not None and (task.opens_itself or named[0].key in task.excludes))
    return None if is_excluded else named[0]


def lacking_words(weights: Path, chosen: set[str], task: Task | None) -> list[Complaint]:
    """Complain of missing words beside a file of weights, which has no config."""
    if task is not None and task.refuses_weights is not None:
        return [Complaint("ckpt", task.refuses_weights.format(weights))]
    lacks = f"{weights} holds only weights: give their network and data with model= and data="
    return [] if "model" in chosen else [Complaint("model", lacks)]


def read_source(named: Typed, task: Task | None, tasks: Sequence[Task]) -> Source:
    """Find and read the file that a word names; only some tasks take an artifact.

    Raises ArtifactError where the file is not of the kind that the word needs.
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
    if task is not None and task.refuses_empty and (finished := has_finished_empty(path)) is not None:
        raise ArtifactError(task.refuses_empty[0 if finished else 1].format(path))
    located = locate(path, {"resume": "last", "repeat": "config"}.get(named.key, "best"))
    if lost:
        located = replace(located, notes=(lost, *located.notes))
    if _is_artifact(located):
        if task is None or not task.takes_artifact:
            takers = " and ".join(f"task={other.name}" for other in tasks if other.takes_artifact)
            raise ArtifactError(f"{path} is an exported network, which only {takers} takes; name its run instead")
        return Source(named.key, located, None)
    if named.key == "repeat":
        run = as_meant_then(read_run(located))
        start = start_of(located.run) if located.run else None
        return Source(named.key, located, run, start, keeps_named=True)
    saved = read_run(located) if named.key == "resume" else read_saved(located)
    keeps = named.key == "resume" or (task is not None and task.retrains)
    return Source(named.key, located, as_meant_then(saved), keeps_named=keeps)


def start_of(run: Path) -> SavedWeights | None:
    """Return the initial weights of a run, as recorded in its environment.json; None where it had none.

    Raises ArtifactError where they are missing or have changed.
    """
    found = read_record(run / "environment.json") or {}  # an unreadable file is reported with the differences
    start, words = found.get("init_from"), found.get("command")
    if isinstance(start, dict) and isinstance(path := start.get("path"), str):
        weights = as_meant_then(read_saved(locate(Path(path), "best")))
        if weights.file.sha256 != start.get("sha256"):
            raise ArtifactError(
                f"{run} began with the weights of {path}, which has changed since: it cannot be repeated"
            )
        return weights
    named = [word for word in words if str(word).startswith("init_from=")] if isinstance(words, list) else []
    if named:
        raise ArtifactError(
            f"{run} began with {named[-1]}, but its version of nnrun did not record those weights; start a new run "
            f"with {named[-1]} and the settings in {run / 'overrides.yaml'}"
        )
    return None


def _is_artifact(located: Located) -> bool:
    """Return whether a file is an exported network; raise ArtifactError for one that failed verification."""
    if located.path.suffix == REJECTED_SUFFIX:
        raise ArtifactError(f"{located.path} failed verification: verification.json beside it has the reason")
    return located.path.suffix == ARTIFACT_SUFFIX


def open_network(path: Path) -> SavedWeights | Path:
    """Return the content of a file, as `open_saved` does; for an exported network, which is not read, its path."""
    located = locate(path, "best")
    return located.path if _is_artifact(located) else as_meant_then(read_saved(located))


def open_saved(path: Path) -> SavedWeights:
    """Return the content of the best checkpoint of a run directory, of a checkpoint, or of a file of weights.

    Raises ArtifactError where the file is damaged, or none of these.
    """
    return as_meant_then(read_saved(locate(path, "best")))

"""How a run ends after an error: the message, and what status.json records."""

from __future__ import annotations

import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from nnrun.assembly.allowed import targets_in
from nnrun.assembly.job import Job
from nnrun.base.errors import (
    BUG,
    ArtifactError,
    ConfigError,
    DataError,
    DivergedError,
    InterruptedRun,
    NnrunError,
    OutOfMemory,
    ResourceError,
)
from nnrun.base.foreign_errors import AGAIN, causes_of, of_own_code, of_the_machine
from nnrun.base.secrets import hide_known
from nnrun.base.signals import StopRequest
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME
from nnrun.config.schema import RunSettings


@dataclass(frozen=True)
class Outcome:
    """The error that ends a run, as reported, and what status.json records of it, without secrets."""

    error: BaseException
    state: str
    exit_code: int
    reason: str


def outcome_of(error: BaseException, job: Job, path: Path, stop: StopRequest) -> Outcome:
    """Return how a run ends after an error; the reported error contains no secrets."""
    said, secrets = _as_said(error, job, path, stop), job.composed.secrets
    reason = hide_known(str(said) or type(said).__name__, secrets)
    if isinstance(said, NnrunError | InterruptedRun):
        said.reword(lambda message: hide_known(message, secrets))
        said.args = (reason,)
    return Outcome(said, state_of(said), getattr(said, "exit_code", BUG), reason)


def _as_said(error: BaseException, job: Job, path: Path, stop: StopRequest) -> BaseException:
    """Return the error to report for the one that ended a run."""
    if stop.heard and _hides_an_interrupt(error):
        error = InterruptedRun(stop.heard)
    if isinstance(error, KeyboardInterrupt) and not isinstance(error, InterruptedRun):
        error = InterruptedRun(signal.SIGINT, at_once=True)  # raised by called code, without a signal
    if isinstance(error, InterruptedRun) and not error.messages:
        return InterruptedRun(error.exit_code - 128, _how_to_go_on(job, path, error))
    if not isinstance(error, NnrunError | InterruptedRun):
        error = of_the_machine(error) or of_own_code(error, _own_files(job)) or error
    if isinstance(error, ResourceError) and _can_resume(job, path):
        error.reword(lambda text: text.replace(AGAIN, f"then resume with: {_resume_command(job, path)}"))
    return advised(error, job.settings) if isinstance(error, OutOfMemory) and _chooses_images(job) else error


def _chooses_images(job: Job) -> bool:
    """Return whether the image size can be chosen: a trained network has a fixed one."""
    return job.composed.evaluated is None and job.task.reads("data.image_size")


def advised(error: OutOfMemory, settings: RunSettings) -> OutOfMemory:
    """Return the error with smaller images as the first advice, if the data consists of images with a size setting.

    Memory grows with the number of pixels, even if a batch cannot be smaller.
    """
    from nnrun.components.data.image_form import AUTO_SIZE  # noqa: PLC0415 - nothing else here is about images

    data = settings.data
    if "image_size" not in data.dataset:
        return error
    size = data.image_size if isinstance(data.image_size, int | list) else AUTO_SIZE
    half = [max(side // 2, 1) for side in size] if isinstance(size, list) else max(size // 2, 1)
    return error.with_first(f"smaller images, data.image_size={str(half).replace(' ', '')}")


def _own_files(job: Job) -> set[str]:
    """Return the files of the user's own classes that the config names."""
    modules = {target.rpartition(".")[0] for target in targets_in(job.composed.resolved())}
    found = [sys.modules.get(name) for name in modules if name.partition(".")[0] not in ("nnrun", "torch")]
    return {file for module in found if (file := getattr(module, "__file__", None))}


def _hides_an_interrupt(error: BaseException) -> bool:
    """Return whether an error hides an interrupt, as when a library's cleanup fails after it.

    We may already have reported it as an error in a config, data or a file. A disk error in a save that follows an
    interrupt is a different case.
    """
    if isinstance(error, ConfigError | DataError | ArtifactError):
        return any(isinstance(cause, InterruptedRun) for cause in causes_of(error))
    return not isinstance(error, NnrunError | InterruptedRun)


def _how_to_go_on(job: Job, path: Path, interruption: InterruptedRun) -> str:
    """Return what to do after an interrupt outside of the training, or in the middle of a step."""
    if _can_resume(job, path):
        saved = "the last checkpoint is intact" if interruption.at_once else "the training is saved"
        return f"stopped; {saved}; resume with: {_resume_command(job, path)}"
    return "stopped; there was nothing to save: run the command again"


def _can_resume(job: Job, path: Path) -> bool:
    """Return whether a run is a training that has a checkpoint."""
    return job.trains and (path / FOLDER_NAME / MANIFEST_NAME).exists()


def _resume_command(job: Job, path: Path) -> str:
    """Return the command that resumes a run."""
    return f"nnrun {shlex.quote(f'resume={path}')}{job.reading()}"


def state_of(error: BaseException) -> str:
    """Return the state in status.json of a run that an error ended."""
    if isinstance(error, InterruptedRun):
        return "interrupted"
    return "diverged" if isinstance(error, DivergedError) else "failed"

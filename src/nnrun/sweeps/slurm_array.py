"""Hand jobs to Slurm as an array, through submitit: the settings of `launch=slurm`, and what sbatch says of them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError
from nnrun.sweeps.slurm_job import ClusterJob

# Words of sbatch about a controller that does not answer, rather than about the jobs.
_BUSY = ("Unable to contact slurm controller", "Socket timed out", "Slurm temporarily unable", "Connection refused")
# Variables that say where the cluster is, unlike those of a job.
_OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS")


class ControllerBusy(Exception):
    """Slurm's controller does not answer, and may later."""


@dataclass(frozen=True)
class SlurmSettings:
    """The settings of `launch=slurm`: what each job asks for."""

    partition: str | None
    nodes: int
    gpus_per_node: int | None
    cpus_per_task: int | None
    mem_gb: float | None
    minutes: int
    warning_seconds: int
    requeues: int
    array_parallelism: int
    setup: Sequence[str]
    additional: Mapping[str, Any]
    # The processes that train together on each node.
    tasks_per_node: int = 1

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters of submitit's executor."""
        asked = {
            "job_name": name,
            "time": self.minutes,
            "partition": self.partition,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node,
            "gpus_per_node": self.gpus_per_node or None,
            "cpus_per_task": self.cpus_per_task,
            # srun does not take that from sbatch.
            "srun_args": None if self.cpus_per_task is None else [f"--cpus-per-task={self.cpus_per_task}"],
            "mem": None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}MB",
            "signal_delay_s": self.warning_seconds,
            "array_parallelism": self.array_parallelism,
            "setup": list(self.setup) or None,
            # A job whose node fails starts again, from its checkpoint.
            "additional_parameters": {"requeue": True, **self.additional},
        }
        return {key: value for key, value in asked.items() if value is not None}


def submit_array(settings: SlurmSettings, folder: Path, name: str, jobs: Sequence[ClusterJob]) -> list[str]:
    """Submit jobs as one array called `name`; return Slurm's number of each, such as `12_3`, or `12` of a single one.

    submitit writes its files to `folder`. Raises ConfigError with the words of sbatch where it refuses the jobs,
    ControllerBusy where it may take them later.
    """
    import submitit  # noqa: PLC0415 - an extra, and only here

    executor = submitit.SlurmExecutor(folder, max_num_timeout=settings.requeues)
    try:
        executor.update_parameters(**settings.parameters(name))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"launch: {error}") from error
    at = {name: os.environ[name] for name in _OF_THE_CLUSTER if name in os.environ}
    try:
        # A sweep may itself run in a job, whose variables must not become those of its jobs.
        with redirect_stderr(io.StringIO()), submitit.helpers.clean_env():
            os.environ.update(at)
            names = [str(job.job_id) for job in executor.submit_array(jobs)]
    except submitit.core.utils.FailedJobError as error:
        said = str(error)
        lines = re.findall(r"(?:error|fatal): (.*)", said) or said.splitlines()[-1:]
        text = f"launch=slurm: sbatch refused the jobs: {'; '.join(lines)}"
        raise (ControllerBusy if any(words in said for words in _BUSY) else ConfigError)(text) from error
    # submitit leaves a link to its script; a run that is resumed writes into no folder with links.
    for path in folder.glob(".submission_file_*"):
        path.unlink(missing_ok=True)
    return names

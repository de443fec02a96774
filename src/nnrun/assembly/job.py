"""A job: an invocation whose config has been checked on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nnrun.assembly.allowed import SHIPPED_ROOTS, target_sections, targets_in
from nnrun.base.invocation import invocation
from nnrun.base.ranks import this_rank
from nnrun.checkpoints.saved_run import SavedWeights
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.config.auto import AUTO
from nnrun.config.composed import Composed
from nnrun.config.flags import is_switched_on
from nnrun.config.run_name import directory_name_of, name_of
from nnrun.config.schema import DataSettings, RunSettings, Section, from_mapping
from nnrun.config.task import Task
from nnrun.core.device import Precision, kernels
from nnrun.runs.environment import environment


@dataclass(frozen=True)
class Job:
    """An invocation whose config has been checked on this machine."""

    composed: Composed
    settings: RunSettings
    device: torch.device
    precision: Precision
    monitor: str
    mode: str
    notes: tuple[str, ...]
    # The file that transfer.weights names; None without one, and for published weights.
    pretrained: SavedWeights | None = None
    # What they were trained on, if known.
    trained_on: TrainedOn | None = None

    @property
    def task(self) -> Task:
        """What this invocation does."""
        return self.composed.task

    @property
    def trains(self) -> bool:
        """Whether this invocation trains a network and keeps it."""
        return self.task.trains

    @property
    def lowers_batch(self) -> bool:
        """Whether a batch larger than the training split is reduced: true if data.batch_size is the default."""
        return self.composed.is_default("data.batch_size")

    def settings_of(self, section: type[Section]) -> Section:
        """Return the section of the task itself, filled from the config; the task's record names its type."""
        assert section is self.task.settings
        return from_mapping(section, self.composed.resolved()[self.task.name])

    @property
    def name(self) -> str:
        """The network and the data, `cnn_digits`."""
        return name_of(self.composed)

    @property
    def directory_name(self) -> str:
        """The name of the run directory after its time: `cnn_digits`; with the task in front if it does not train."""
        return directory_name_of(self.composed)

    def reading(self, preprocessing: Mapping[str, Any] | None = None, task: Task | None = None) -> str:
        """Return the arguments that a command needs to read this run's checkpoints, each with a space before it.

        These are ` trust=[mynet]` for the custom classes that its task builds (default: this job's task), and
        --config-dir= or --no-conf as they were given.
        """
        found, builds = target_sections(self.composed.resolved()), (task or self.task).builds_section
        sections = [*(section for name, section in found.items() if builds(name)), preprocessing]
        targets = [target for section in sections for target in targets_in(section)]
        modules = {target.rpartition(".")[0] for target in targets if not target.startswith(SHIPPED_ROOTS)}
        words = [f"--config-dir={folder}" for folder in self.composed.own if folder != Path("conf").resolve()]
        words += ["--no-conf"] if is_switched_on("leaves_conf_out", invocation().words) else []
        words += [f"trust=[{','.join(sorted(modules))}]"] if modules else []
        return "".join(f" {shlex.quote(word)}" for word in words)

    @property
    def shares_device(self) -> bool:
        """Whether several ranks compute on one GPU, because the config names that one."""
        return this_rank().size > 1 and ":" in self.settings.trainer.device

    @property
    def resume(self) -> Path | None:
        """The run directory that this invocation resumes."""
        return self.composed.resumed.run if self.composed.resumed else None

    @property
    def progress(self) -> str | bool:
        """Whether to show progress; not taken from a checkpoint, whose training may have had no terminal."""
        is_read = self.composed.saved_in is not None and not self.trains
        return AUTO if is_read and not self.composed.named("trainer.progress") else self.settings.trainer.progress

    @property
    def data(self) -> DataSettings:
        """The data's settings. A folder that only a checkpoint names gets no downloads: the file is untrusted."""
        settings, composed = self.settings.data, self.composed
        is_typed = composed.named("data.root") or composed.named("data.download")
        if composed.saved_in is None or is_typed or not str(settings.dataset["_target_"]).startswith("nnrun."):
            return settings
        stays = {"download": False} if "download" in settings.dataset else {}
        return replace(settings, download=False, dataset=settings.dataset | stays)

    def environment(self) -> dict[str, Any]:
        """Return the content of environment.json."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        found = environment(torch.get_num_threads(), name, self.composed.secrets) | {"kernels": kernels(self.device)}
        if (size := this_rank().size) > 1:
            found["processes"] = size
        if self.trains and self.composed.start is not None:
            found["init_from"] = _noted(self.composed.start)
        if self.trains and self.pretrained is not None:
            found["transfer.weights"] = _noted(self.pretrained)
        return found

    def tree(
        self,
        known: Mapping[str, Any],
        became: Mapping[str, Any] | None = None,
        **trainer: Any,
    ) -> dict[str, Any]:
        """Return the config with everything set: what is `known` of the data, and the value of each `auto`.

        `became` has the settings of `data` that the samples decided.
        """
        tree = self.composed.resolved(known)
        for key, value in (became or {}).items():
            for section in (tree["data"], tree["data"]["dataset"]):
                if key in section:
                    section[key] = value
        has_its_own = this_rank().size > 1 and not self.shares_device
        tree["trainer"] |= {
            "device": self.device.type if has_its_own else str(self.device),
            "devices": this_rank().size,
            "precision": self.precision.name,
            "threads": torch.get_num_threads(),
            **trainer,
        }
        return tree


def _noted(weights: SavedWeights) -> dict[str, str]:
    """Return the path of a run's initial weights, and the hash by which a repetition recognizes them."""
    return {"path": str(weights.path.absolute()), "sha256": weights.file.sha256}

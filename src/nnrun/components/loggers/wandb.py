"""Weights & Biases, with nothing taken from the machine: no console output, code, git state or command line."""

from __future__ import annotations

import contextlib
import netrc
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nnrun.base.foreign_errors import check_package
from nnrun.core.seams.training import Histogram, RunInfo

if TYPE_CHECKING:
    from torch import Tensor


class WandB:
    """Send settings and values to Weights & Biases, or keep them in the run's directory, offline.

    A run that is resumed or sent again continues the run of the same id. Online, values of steps that this has are not
    sent again. Offline, the newest folder holds the whole run, and those before it are removed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is a setting in the YAML
        self,
        project: str,
        entity: str | None,
        name: str | None,
        mode: str | None,
        histograms: bool,
        mistakes: bool,
        finish_seconds: float,
    ) -> None:
        self._project, self._entity, self._name, self._mode = project, entity, name, mode
        self.finish_seconds = finish_seconds
        # None: the logger has no such method.
        self.histograms = self._histograms if histograms else None
        self.image = self._image if mistakes else None

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ResourceError if wandb is not installed."""
        check_package("logger.wandb", "wandb")

    def start(self, run: RunInfo) -> None:
        """Begin or continue the run; send again what a resumed run has kept."""
        import wandb  # noqa: PLC0415 - only for this logger

        mode = self._mode or os.environ.get("WANDB_MODE") or "online"
        if mode == "online" and not _has_key():
            raise RuntimeError("no API key: set WANDB_API_KEY, or use logger.wandb.mode=offline")
        self._wandb, self._folder, source = wandb, run.directory / "wandb", run.source or run.directory
        self._earlier = [*self._folder.glob(f"offline-run-*-{run.id}*")]
        self._run = wandb.init(
            project=self._project,
            entity=self._entity,
            name=self._name or source.name,
            id=run.id,
            resume="allow" if mode == "online" else None,
            group=run.sweep,
            config=dict(run.config),
            dir=str(run.directory),
            mode=mode,  # type: ignore[arg-type]
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )
        self._remove_links()
        self._sent = int(self._run.step or 0)
        for step, values in run.rows:
            self.log(step, values)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Send the values of a step."""
        if step >= self._sent:
            self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Send the final metrics, and how the run ended; wait until everything is sent."""
        self._run.summary.update({"state": summary["state"], **summary["metrics"]})
        self._run.finish(exit_code=int(summary["exit_code"]))
        self._remove_links()
        for folder in self._earlier:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_links(self) -> None:
        """Remove the links to the newest folder: a run with links in it could not be resumed."""
        for path in self._folder.rglob("*"):
            if path.is_symlink():
                path.unlink()

    def _histograms(self, step: int, values: Mapping[str, Histogram]) -> None:
        """Send distributions."""
        found = {}
        for name, it in values.items():
            width = (it.high - it.low) / len(it.counts)
            edges = [it.low + width * index for index in range(len(it.counts) + 1)]
            found[name] = self._wandb.Histogram(np_histogram=(list(it.counts), edges))  # type: ignore[arg-type]
        self.log(step, found)

    def _image(self, step: int, name: str, image: Tensor) -> None:
        """Send an image."""
        pixels = image.permute(1, 2, 0).numpy()
        self.log(step, {name: self._wandb.Image(pixels[..., 0] if pixels.shape[2] == 1 else pixels)})


def _has_key() -> bool:
    """Return whether there is an API key, in the environment or from `wandb login`: wandb would ask for one."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    named = os.environ.get("NETRC")
    files = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        kept = any(netrc.netrc(file).authenticators(host) for file in files if file.is_file())
        return bool(os.environ.get("WANDB_API_KEY")) or kept
    return bool(os.environ.get("WANDB_API_KEY"))

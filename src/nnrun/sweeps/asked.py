"""What a command line asks of a sweep: its settings, the words of its jobs, its search and its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.files import saving
from nnrun.base.paths import is_there
from nnrun.config.draft import folder_of_jobs
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.config.sweep_settings import SweepConfig
from nnrun.config.task import Task, task_called
from nnrun.config.typed_paths import SOURCE_KEYS
from nnrun.runs.console import Console
from nnrun.runs.directory import create_numbered
from nnrun.sweeps.jobs import Workshop
from nnrun.sweeps.places import SearchSetup, search_of
from nnrun.sweeps.repeats import Additions
from nnrun.sweeps.resumed import Past, read_past, resumed_folder
from nnrun.sweeps.seams import Search
from nnrun.sweeps.table import JSON_NAME


@dataclass(frozen=True)
class Asked:
    """What a command line asks of a sweep: its settings, and the words of its jobs."""

    config: SweepConfig
    typed: tuple[Typed, ...]
    own: Sequence[Path]
    rules: Rules
    console: Console
    # What it adds to the words of its jobs.
    additions: Additions

    @property
    def axes(self) -> list[Typed]:
        """The words that name several values."""
        return [item for item in self.typed if item.is_sweep]

    @property
    def workshop(self) -> Workshop:
        """What its jobs are made from."""
        repeated, added = list(self.additions.repeats[0]), self.additions
        swept = [*(item.key for item in self.axes), *repeated]
        return Workshop(self.typed, swept, self.own, self.rules, added.repeats, added.fixed)


def past_of(words: Sequence[str]) -> Past | None:
    """Return the record of the sweep that `resume=` names, if it does."""
    folder = resumed_folder(words)
    return None if folder is None else read_past(folder)


def search_for(asked: Asked) -> Search:
    """Return the search of a sweep; raise before anything is written if it cannot be."""
    config = asked.config
    setup = SearchSetup(
        settings=config.sweep,
        own_settings=config.method,
        axes=asked.axes,
        words_with=asked.workshop.words_with,
        seed=config.seed,
        own=asked.own,
        rules=asked.rules,
    )
    return search_of(config, setup)


def refuse(typed: Sequence[Typed], tasks: Sequence[Task]) -> list[Complaint]:
    """Complain of words that cannot be swept over, or have no meaning in a sweep."""
    found = [Complaint(item.key, text) for item in typed for text in _refused(item, tasks)]
    keys = [item.key for item in typed]
    twice = dict.fromkeys(item.key for item in typed if item.is_sweep and keys.count(item.key) > 1)
    return found + [
        Complaint(key, f"{key} is given twice, but a sweep varies it; remove one of the words") for key in twice
    ]


def _refused(item: Typed, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield the reasons why a word cannot be part of a sweep."""
    looks_swept = item.value is not None and "," in str(item.value) and not is_there(str(item.value))
    if item.key in SOURCE_KEYS and (looks_swept or str(item.value).startswith("choice(")):
        yield f"{item.word!r}: cannot sweep over {item.key}; run each checkpoint separately"
    if item.key == "hydra.run.dir":
        yield "hydra.run.dir has no effect in a sweep; use hydra.sweep.dir=, the folder of all its jobs"
    if item.key == "task":
        named = [task_called(name, tasks) for name in (item.value, *item.choices)]
        yield from (task.not_swept for task in named if task is not None and task.not_swept is not None)
    if item.key == "trainer.devices" and item.value != 1:
        yield "each job of a sweep trains in one process: leave trainer.devices out, or run the configs one by one"
    if item.key == "input" and item.value == "-":
        yield "input=- can be read once, not by each job of a sweep; give a file, a folder or a pattern"


def sweep_folder(typed: Sequence[Typed], own: Sequence[Path]) -> Path:
    """Create and return the folder of the sweep: the one that hydra.sweep.dir names, or one named by the time."""
    folder = folder_of_jobs(typed, own)
    if folder is None:
        now = datetime.now()
        return create_numbered(Path("outputs/multirun") / now.strftime("%Y-%m-%d"), now.strftime("%H-%M-%S"))
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            resumable = (
                f", or continue its sweep with nnrun -m resume={folder}" if (folder / JSON_NAME).is_file() else ""
            )
            raise ConfigError(f"hydra.sweep.dir={folder} is in use (not empty); choose another{resumable}")
    return folder

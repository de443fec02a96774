"""What can be asked of nnrun, as plain data: a `Task` for each, and what is said of a config that it does not fit.

Neither torch nor Hydra is imported here: `nnrun --help` reads the records too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import Complaint
from nnrun.config.conflicts import Conflict
from nnrun.config.folders import GROUPS
from nnrun.config.no_effect import Idle
from nnrun.config.ranges import Range, one_of
from nnrun.config.tree import is_within

if TYPE_CHECKING:
    from nnrun.config.overrides import Typed

# The value of `task` that leaves it to the other settings what is to be done.
AUTO = "auto"
# Settings, and whole sections, that a training alone reads; and those of them that anything reads that runs a network.
OF_A_TRAINING = (
    *("augment", "transfer", "optimizer", "scheduler", "early_stopping", "callback", "logger", "seed"),
    "data.batch_size",
    *("data.class_order", "data.dataset.mean", "data.dataset.std"),
    "trainer",
)
OF_ANY_NETWORK = (
    *("trainer.device", "trainer.channels_last", "trainer.deterministic", "trainer.threads", "trainer.progress"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is done where `task=` has this name, and all that the checks, the notes and the help say of it."""

    name: str
    # The dotted name of a function `(composed, words, directory) -> Summary`: a checked config, the words of the
    # command line, and the directory that a sweep made for the job. It is imported when it runs, and not before. What
    # no sweep takes may return something else that was `Reached`.
    run: str
    # Commands, each with what it does; and what the help on the task itself adds.
    help: tuple[tuple[str, str], ...]
    help_adds: str = ""
    # Whether `task=` takes the name; a task that something else asks for, such as `export=`, may go without.
    is_named: bool = True
    # Whether it is called as `nnrun NAME WORD ...`, and has no config: its function is given None, and those words.
    is_command: bool = False
    # Whether task=auto means this one, of a resolved config; None: it has to be named.
    is_meant: Callable[[Mapping[str, Any]], object] | None = None

    # The dataclass that types the section of its name in conf/config.yaml, if it has one; what values may be in it,
    # what is wrong together, and what has no effect, all by full key.
    settings: type | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    idle: tuple[Idle, ...] = ()
    # Settings outside of its section that have no effect without it, or without another task that lists them.
    reads_alone: tuple[str, ...] = ()

    # Settings without which it cannot be done, and those that cannot stand beside it: key -> message. A group is beside
    # it where the command line names it.
    needs: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    # The only words that may stand beside it; None: all.
    takes_only: tuple[str, ...] | None = None

    # Settings, and whole sections, that it does not read, with those of them that it does; what is said of one that is
    # typed, behind "has no effect with".
    unread: tuple[str, ...] = ()
    reads_of_unread: tuple[str, ...] = ()
    unread_with: str = ""
    # The sections with a `_target_` that it builds; None: all.
    builds: tuple[str, ...] | None = None
    # Whether the others stay in the config all the same, unread: what it exports carries the whole of it.
    keeps_unbuilt: bool = False

    # Whether it trains a network to keep.
    trains: bool = False
    # Whether `ckpt=` may be an exported network; and why it cannot be weights alone, `{}` being their file.
    takes_artifact: bool = False
    refuses_weights: str | None = None
    # Why a sweep refuses it: one that returns no summary has nothing to compare.
    not_swept: str | None = None

    def reads(self, key: str) -> bool:
        """Return whether it reads a setting, or all of a section."""
        return key in self.reads_of_unread or not _is_in(key, self.unread)

    def builds_section(self, name: str) -> bool:
        """Return whether it builds a section, or an option of a named one such as `export.onnx`."""
        return self.builds is None or _is_in(name, self.builds)

    @property
    def words(self) -> str:
        """What is said of a setting without effect: what it has none with."""
        return self.unread_with or f"task={self.name}"


def task_called(name: object, tasks: Sequence[Task]) -> Task | None:
    """Return the task that `task=` names; None for auto, and for what is no task."""
    return next((task for task in tasks if task.is_named and task.name == name), None)


def task_of(tree: Mapping[str, Any], tasks: Sequence[Task]) -> Task | None:
    """Return the task of a resolved config; None where it names none.

    The tasks that auto may mean are told apart by the other settings, also where one of them is named.
    """
    named = task_called(tree.get("task"), tasks)
    if tree.get("task") == AUTO or (named is not None and named.is_meant is not None):
        return next((task for task in tasks if task.is_meant is not None and task.is_meant(tree)), None)
    return named


def allowed_names(tasks: Sequence[Task]) -> Range:
    """Return what `task` may be."""
    names = (AUTO, *(task.name for task in tasks if task.is_named))
    return one_of(*names)


def misfits(typed: Sequence[Typed], tree: Mapping[str, Any], tasks: Sequence[Task]) -> list[Complaint]:
    """Complain of what a config lacks for the task that it names, and of what has no place beside that task."""
    task = task_called(tree.get("task"), tasks)
    if task is None and tree.get("task") != AUTO:
        return []  # what it would read is not known: that the name is wrong is said elsewhere
    problems = list(_of_other_tasks(typed, tree, tasks))
    if task is None:
        return problems
    problems += [Complaint(key, text) for key, text in task.needs.items() if not tree.get(key)]
    problems += [Complaint(key, text) for key, text in task.excludes.items() if _is_beside(key, typed, tree)]
    if task.takes_only is not None and (words := sorted({item.key for item in typed} - {"task", *task.takes_only})):
        problems.append(Complaint("task", f"{', '.join(words)} would have no effect with {task.words}", tuple(words)))
    return problems


def _of_other_tasks(typed: Sequence[Typed], tree: Mapping[str, Any], tasks: Sequence[Task]) -> Iterator[Complaint]:
    """Complain of each setting that only tasks read which are not done."""
    readers: dict[str, list[str]] = {}
    for task in tasks:
        for key in (*((task.name,) if task.settings else ()), *task.reads_alone):
            readers.setdefault(key, []).append(task.name)
    for key, names in readers.items():
        if tree.get("task") in names:
            continue
        needed = " or ".join(f"task={name}" for name in names)
        if isinstance(tree.get(key), Mapping):
            for word in (item.key for item in typed if is_within(item.key, key)):
                yield Complaint(word, f"{word} has no effect without {needed}")
        elif tree.get(key):
            yield Complaint(key, f"{key}={tree[key]} has no effect without {needed}")


def _is_beside(key: str, typed: Sequence[Typed], tree: Mapping[str, Any]) -> bool:
    """Return whether a config names a setting; the default option of a group is nobody's wish."""
    if key in GROUPS:
        return any(is_within(item.key, key) for item in typed)
    return bool(tree.get(key))


def _is_in(key: str, names: Sequence[str]) -> bool:
    """Return whether a key is one of some settings and sections, or in one of them."""
    return any(is_within(key, name) for name in names)

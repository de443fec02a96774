"""The tasks of nnrun as plain data, a `Task` for each, and the complaints about a config that does not fit its task.

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

# The value of `task` with which the other settings decide the task.
AUTO = "auto"
# Settings, and whole sections, that only a training reads; and those of them that every task with a network reads.
OF_A_TRAINING = (
    *("augment", "transfer", "optimizer", "scheduler", "early_stopping", "callback", "logger", "report", "seed"),
    "data.batch_size",
    *("data.class_order", "data.dataset.mean", "data.dataset.std"),
    "trainer",
)
OF_ANY_NETWORK = (
    *("trainer.device", "trainer.channels_last", "trainer.deterministic", "trainer.threads", "trainer.progress"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A task, with its rules for the checks and its texts for notes and help."""

    name: str
    # The dotted name of a function `(composed, words, directory) -> Summary`: a checked config, the words of the
    # command line, and the directory that a sweep made for the job. It is imported only when it runs. A task that a
    # sweep refuses may return another `Reached`.
    run: str
    # Commands, each with its description; and a text that the help on the task itself adds.
    help: tuple[tuple[str, str], ...]
    help_adds: str = ""
    # Whether `task=` takes the name; otherwise another setting asks for the task, such as `export=`.
    is_named: bool = True
    # Whether it is called as `nnrun NAME WORD ...`, and has no config: its function is given None, and those words.
    is_command: bool = False
    # Whether task=auto means this task, given a resolved config; None: it must be named.
    is_meant: Callable[[Mapping[str, Any]], object] | None = None

    # The dataclass of the section of its name in conf/config.yaml, if it has one; the allowed values, the conflicts and
    # the settings without effect of that section, all by full key.
    settings: type | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    idle: tuple[Idle, ...] = ()
    # Settings outside of its section that have no effect without it, or without another task that lists them.
    reads_alone: tuple[str, ...] = ()

    # Settings that it requires, and settings that it excludes: key -> message. A group is excluded only where the
    # command line names it.
    needs: Mapping[str, str] = field(default_factory=dict)
    excludes: Mapping[str, str] = field(default_factory=dict)
    # The only words allowed beside it; None: all.
    takes_only: tuple[str, ...] | None = None

    # Settings, and whole sections, that it does not read, and exceptions from them that it does; the text after "has no
    # effect with" for one of them on the command line.
    unread: tuple[str, ...] = ()
    reads_of_unread: tuple[str, ...] = ()
    unread_with: str = ""
    # The sections with a `_target_` that it builds; None: all.
    builds: tuple[str, ...] | None = None
    # Whether the other sections stay in the config, unread: its exports store the whole config.
    keeps_unbuilt: bool = False

    # Whether it trains a network to keep; and whether it repeats a part of the training that `ckpt=` names, so that
    # every section of its config counts.
    trains: bool = False
    retrains: bool = False
    # Whether `ckpt=` may be an exported network; and the message where a file of weights, `{}`, is refused.
    takes_artifact: bool = False
    # Whether it opens what `ckpt=` names itself, whatever that is; its config is then that of the command line.
    opens_itself: bool = False
    refuses_weights: str | None = None
    # The message where a run directory, `{}`, has no checkpoints folder: of an evaluation; of a run that failed early.
    refuses_empty: tuple[str, str] | None = None
    # Why a sweep refuses it: one that returns no summary has nothing to compare.
    not_swept: str | None = None

    def reads(self, key: str) -> bool:
        """Return whether it reads a setting, or all of a section."""
        return _is_in(key, self.reads_of_unread) or not _is_in(key, self.unread)

    def builds_section(self, name: str) -> bool:
        """Return whether it builds a section, or an option of a named one such as `export.onnx`."""
        return self.builds is None or _is_in(name, self.builds)

    @property
    def words(self) -> str:
        """The text after "has no effect with"."""
        return self.unread_with or f"task={self.name}"


def task_called(name: object, tasks: Sequence[Task]) -> Task | None:
    """Return the task that `task=` names; None for auto and for an unknown name."""
    return next((task for task in tasks if task.is_named and task.name == name), None)


def task_of(tree: Mapping[str, Any], tasks: Sequence[Task]) -> Task | None:
    """Return the task of a resolved config; None where it names none.

    Between the tasks that auto may mean, the other settings decide, even where one of them is named.
    """
    named = task_called(tree.get("task"), tasks)
    if tree.get("task") == AUTO or (named is not None and named.is_meant is not None):
        return next((task for task in tasks if task.is_meant is not None and task.is_meant(tree)), None)
    return named


def allowed_names(tasks: Sequence[Task]) -> Range:
    """Return the allowed values of `task`."""
    names = (AUTO, *(task.name for task in tasks if task.is_named))
    return one_of(*names)


def misfits(typed: Sequence[Typed], tree: Mapping[str, Any], tasks: Sequence[Task]) -> list[Complaint]:
    """Complain of settings that the task of a config requires, and of those that it excludes."""
    task = task_called(tree.get("task"), tasks)
    if task is None and tree.get("task") != AUTO:
        return []  # the unknown name is reported elsewhere
    problems = list(_of_other_tasks(typed, tree, tasks))
    if task is None:
        return problems
    problems += [Complaint(key, text) for key, text in task.needs.items() if not tree.get(key)]
    problems += [Complaint(key, text) for key, text in task.excludes.items() if _is_beside(key, typed, tree)]
    if words := _not_taken(typed, task):
        problems.append(Complaint("task", f"{', '.join(words)} would have no effect with {task.words}", tuple(words)))
    return problems


def _not_taken(typed: Sequence[Typed], task: Task) -> list[str]:
    """Return the typed settings that a task does not take, if it takes only a few.

    One in its own section that it does not take is unknown, which is reported elsewhere.
    """
    if task.takes_only is None:
        return []
    taken, own = {"task", *task.takes_only}, task.settings is not None
    keys = {item.key for item in typed} - taken
    return sorted(key for key in keys if not (own and is_within(key, task.name)))


def _of_other_tasks(typed: Sequence[Typed], tree: Mapping[str, Any], tasks: Sequence[Task]) -> Iterator[Complaint]:
    """Complain of each setting that only other tasks read."""
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
    """Return whether a config has a setting; for a group, whether the command line names it."""
    if key in GROUPS:
        return any(is_within(item.key, key) for item in typed)
    return bool(tree.get(key))


def _is_in(key: str, names: Sequence[str]) -> bool:
    """Return whether a key is one of some settings and sections, or in one of them."""
    return any(is_within(key, name) for name in names)

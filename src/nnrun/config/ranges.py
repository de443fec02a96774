"""The allowed values of settings, by full key, and how they are written. Needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnrun.base.host import MAX_THREADS

NULL = ("null",)
# What trainer.watch can measure.
WATCHED_PARTS = ("gradients", "activations", "weights", "updates", "memory", "time")
DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d+|mps")


@dataclass(frozen=True)
class Range:
    """The allowed values: as a test, in words, and those of them that are words, as YAML has them."""

    holds: Callable[[Any], bool]
    allowed: str
    words: tuple[str, ...] = ()


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is an integer or a float, finite or not; true and false are not."""
    return is_integer(value) or isinstance(value, float)


def whole(low: int, high: int | None = None, *, null: bool = False) -> Range:
    """Allow integers from low to high, both included."""
    words = f"a whole number from {low} {'up' if high is None else f'to {high}'}" + (" or null" if null else "")
    return Range(
        lambda v: (null and v is None) or (is_integer(v) and v >= low and (high is None or v <= high)),
        words,
        NULL if null else (),
    )


def number(
    low: float, high: float = math.inf, *, above: bool = False, below: bool = False, null: bool = False
) -> Range:
    """Allow finite numbers from low to high; `above` and `below` exclude the bounds themselves."""

    def holds(value: Any) -> bool:
        if value is None:
            return null
        if not is_number(value) or not math.isfinite(value):
            return False
        return (value > low if above else value >= low) and (value < high if below else value <= high)

    words = f"a finite number {'above' if above else 'from'} {low:g}"
    words += "" if high == math.inf else f" {'and below' if below else 'to'} {high:g}"
    return Range(
        holds, words + ("" if above or high < math.inf else " up") + (" or null" if null else ""), NULL if null else ()
    )


def several(each: Range, length: int | None = None) -> Range:
    """Allow a list of values that are each in a range."""
    return Range(
        lambda v: isinstance(v, list) and (length is None or len(v) == length) and all(each.holds(item) for item in v),
        f"a list of {length or 'numbers'}{' numbers' if length else ''}, each {each.allowed}",
    )


def one_of(*options: str) -> Range:
    """Allow the words named."""
    return Range(lambda v: v in options, ", ".join(options), options)


_AUTO_OR_WHOLE = Range(lambda v: v == "auto" or whole(1).holds(v), "auto or a whole number from 1 up", ("auto",))
FRACTION = number(0, 1)
# The height or the width of an image.
MAX_SIDE = 16384
SIDE = whole(1, MAX_SIDE)
POSITIVE = number(0, above=True)
NOT_NEGATIVE = number(0)
TITLE = Range(lambda v: isinstance(v, str) and v.strip() != "", "the title of a column")


def span(low: float, high: float = math.inf) -> Range:
    """Allow two numbers in rising order, above `low` and up to `high`."""
    each = number(low, high, above=True)
    pair = several(each, 2)
    return Range(lambda v: pair.holds(v) and v[0] <= v[1], f"[from, to], each {each.allowed}, in rising order")


def _is_shape(value: Any) -> bool:
    """Return whether a value is a shape, or shapes by name."""
    if isinstance(value, dict):
        return all(map(_is_shape, value.values()))
    return isinstance(value, list) and all(item is None or is_integer(item) or _is_shape(item) for item in value)


def titles_in(setting: Any) -> list[str]:
    """Return the titles of columns that a setting names: one, several, or the keys of a mapping."""
    return (
        list(map(str, setting)) if isinstance(setting, list | dict) else [setting] if isinstance(setting, str) else []
    )


# What a column of a table can be set to; the last three kinds are not read by a network.
KINDS_OF_COLUMNS = ("number", "category", "boolean", "date", "id", "text", "part")

RANGES: dict[str, Range] = {
    "seed": whole(0, 2**63 - 1),
    "data.root": Range(lambda v: isinstance(v, str) and v != "", "the path of a folder"),
    "data.batch_size": Range(lambda v: v == "auto" or whole(1).holds(v), f"{whole(1).allowed}, or auto", ("auto",)),
    "data.eval_batch_size": whole(1),
    "data.val_fraction": number(0, 1, below=True),
    "data.split_seed": whole(0, 2**63 - 1),
    "data.num_folds": whole(2, 100, null=True),
    "data.fold": whole(1, 100),
    "data.limit": whole(1, null=True),
    "data.num_workers": whole(0, 256),
    "data.image_size": Range(
        lambda v: v in ("auto", None) or SIDE.holds(v) or several(SIDE, 2).holds(v),
        f"auto, {SIDE.allowed}, two of them as [height, width], or null",
    ),
    "data.channels": Range(lambda v: v is None or (is_integer(v) and v in (1, 3)), "1, 3 or null", ("1", "3", "null")),
    "data.white": Range(
        lambda v: v in ("auto", None) or POSITIVE.holds(v),
        "auto, null or a number above 0, such as 255, 1023 or 4095",
        ("auto", "null"),
    ),
    "data.labels": Range(
        lambda v: not isinstance(v, dict) or ("train" in v and set(v) <= {"train", "valid", "test"}),
        "a file, or one for each split as {train: FILE, valid: FILE, test: FILE}, of which train is required",
    ),
    "data.columns": Range(
        lambda v: v is None or (isinstance(v, dict) and set(map(str, v.values())) <= {*KINDS_OF_COLUMNS}),
        f"titles with kinds, as in {{age: number, zip: category}}, or null; kinds are {', '.join(KINDS_OF_COLUMNS)}",
    ),
    "data.target": Range(
        lambda v: v is None or len(set(titles_in(v))) == len(titles_in(v)),
        "the title of a column, or a list of titles, each once, or null",
    ),
    "data.max_length": whole(1, null=True),
    "tokenizer.vocab_size": whole(2),
    "tokenizer.min_frequency": whole(1),
    "tokenizer.padding": whole(0, null=True),
    "data.in_shape": Range(
        lambda v: v is None or _is_shape(v), "a list of whole numbers, a mapping of such lists by name, or null"
    ),
    "data.num_outputs": whole(1, null=True),
    "data.num_classes": whole(2, null=True),
    "data.facts": Range(lambda v: v is None or isinstance(v, dict), "values by name, or null"),
    "trainer.device": Range(
        lambda v: isinstance(v, str) and DEVICE.fullmatch(v) is not None,
        "auto, cpu, cuda, cuda:1 (a number), mps",
        ("auto", "cpu", "cuda", "mps"),
    ),
    "trainer.devices": _AUTO_OR_WHOLE,
    "trainer.max_restarts": whole(0),
    "trainer.epochs": whole(0),
    "trainer.max_steps": whole(1, null=True),
    "trainer.max_minutes": number(0, above=True, null=True),
    "trainer.accumulate": whole(1),
    "trainer.grad_clip_norm": number(0, above=True, null=True),
    "trainer.ema_decay": number(0, 1, above=True, below=True, null=True),
    "trainer.max_nonfinite": whole(1),
    "trainer.validate_every_steps": whole(1, null=True),
    "trainer.checkpoint_every_steps": whole(1, null=True),
    "trainer.keep_last": whole(2),
    "trainer.threads": Range(
        lambda v: v == "auto" or whole(1, MAX_THREADS).holds(v),
        f"auto or a whole number from 1 to {MAX_THREADS}",
        ("auto",),
    ),
    "trainer.log_every_steps": whole(1),
    "trainer.watch": Range(
        lambda v: (
            v in ("none", "all", *WATCHED_PARTS)
            or (isinstance(v, list) and v != [] and all(part in WATCHED_PARTS for part in v))
        ),
        f"none, all, or a list of {', '.join(WATCHED_PARTS)}",
        ("none", "all", *WATCHED_PARTS),
    ),
    "trainer.watch_every_steps": whole(1),
    "trainer.recompute": Range(
        lambda v: (
            isinstance(v, bool)
            or (v != [] and all(isinstance(name, str) and name for name in (v if isinstance(v, list) else [v])))
        ),
        "true, false, auto, or names of layers, such as layer1 or [layer1.*, layer2.*]",
        ("true", "false", "auto"),
    ),
    "transfer.weights": Range(
        lambda v: v is None or (isinstance(v, str) and v != ""),
        "default, the path of a file or of a run, or null",
        ("default", "null"),
    ),
    "transfer.freeze": Range(
        lambda v: v != [] and all(isinstance(name, str) and name for name in (v if isinstance(v, list) else [v])),
        "none, backbone, or names of parameters, such as conv1.* or [conv1.*, layer1.*]",
        ("none", "backbone"),
    ),
    "transfer.unfreeze_epoch": whole(2, null=True),
    "transfer.head_lr_factor": POSITIVE,
    "transfer.backbone_lr_factor": POSITIVE,
    "transfer.layer_decay": number(0, 1, above=True, null=True),
    "early_stopping.patience": whole(1),
    "early_stopping.min_delta": NOT_NEGATIVE,
    "sweep.method": one_of("grid", "random", "tpe", "gp", "cmaes"),
    "sweep.trials": whole(1, null=True),
    "sweep.minutes": number(0, above=True, null=True),
    "sweep.prune": one_of("none", "median", "asha", "hyperband"),
    "sweep.seed": whole(0, null=True),
    "sweep.startup": whole(1),
    "sweep.parallel": _AUTO_OR_WHOLE,
    "sweep.jobs_per_device": _AUTO_OR_WHOLE,
    "sweep.job_minutes": number(0, above=True, null=True),
    "sweep.seeds": whole(1),
    "sweep.folds": whole(2, 100, null=True),
    "sweep.top": whole(0),
    "sweep.zip": Range(lambda v: isinstance(v, list) and all(isinstance(key, str) for key in v), "a list of settings"),
    "sweep.exclude": Range(
        lambda v: isinstance(v, list) and all(isinstance(text, str) for text in v),
        "a list of combinations, each in quotes, such as 'model=mlp,data=cifar10'",
    ),
    "launch.place": one_of("local", "slurm"),
    "launch.partition": Range(lambda v: v is None or (isinstance(v, str) and v != ""), "a name or null", NULL),
    "launch.nodes": whole(1),
    "launch.gpus_per_node": whole(0, null=True),
    "launch.cpus_per_task": whole(1, null=True),
    "launch.mem_gb": number(0, above=True, null=True),
    "launch.minutes": whole(1),
    "launch.warning_seconds": whole(1, 3600),
    "launch.requeues": whole(0),
    "launch.array_parallelism": whole(1),
    "launch.setup": Range(
        lambda v: isinstance(v, list) and all(isinstance(item, str) for item in v), "a list of shell commands"
    ),
    "launch.additional": Range(
        lambda v: isinstance(v, dict) and all(isinstance(item, str | int | float) for item in v.values()),
        "options of sbatch by name, such as {account: physics}",
    ),
}

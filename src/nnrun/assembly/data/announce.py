"""Describe the data before a run begins: how many samples of which targets, from where, and which classes have few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.base.paths import shown
from nnrun.base.targets import SINGULAR
from nnrun.base.visible import few
from nnrun.config.schema import DataSettings
from nnrun.core.target_values import target_counts
from nnrun.runs.console import Console
from nnrun.runs.sheet import sheet_of

# With fewer samples in a split, the accuracy of a class is known only to about 10 points.
FEW_SAMPLES = 10
# The ratio of class sizes, or of samples without a label to samples with it, above which imbalance is reported.
MAX_RATIO = 3
# Parameters of nnrun's losses that weight classes or labels.
_WEIGHTS = {"classes": ("weight", "alpha"), "labels": ("pos_weight",)}


def tell_of_data(
    data: Opened, settings: DataSettings, loss: Mapping[str, Any], console: Console, *, trains: bool
) -> list[str]:
    """Report the data in one line, then the findings, and the classes that have few samples or none; return the notes.

    `loss` is the config's section: an imbalance that the loss could correct, but does not, is reported.
    """
    console.say(data_line(data, settings))
    for line in lines_of_keys(data):
        console.say(line)
    for table in data.findings.tables:
        console.table(sheet_of(table))
    notes = [*data.findings.notes, *missing_targets(data, trains=trains)]
    for note in data.findings.notes:
        console.note(note)
    for line in data.findings.details:
        console.record(line)
    for note in missing_targets(data, trains=trains):
        console.note(note)
    if small := few_samples(data, trains=trains):
        console.say(f"{data.targets.kind} with fewer than {FEW_SAMPLES} samples: {small}")
    if trains and (said := imbalance(data, loss)):
        console.say(said)
    return notes


def data_line(data: Opened, settings: DataSettings) -> str:
    """Return the source of the samples, their number in each split, and their targets."""
    sizes = [f"{len(split):,} {name}" for name, split in data.parts.items() if len(split)]
    limit = ""
    if data.num_test > len(data.test) and settings.limit is not None:
        sizes[-1] = f"{len(data.test):,} of {data.num_test:,} test"
        limit = f" (data.limit={settings.limit})"
    root = settings.dataset.get("root")
    source = f"{settings.name} in {shown(root)}" if isinstance(root, str) else settings.name
    noun = "sample" if [len(split) for split in data.parts.values() if len(split)] == [1] else "samples"
    return f"data: {source}, {', '.join(sizes)} {noun} of {data.targets}{limit}"


def lines_of_keys(data: Opened) -> Iterator[str]:
    """Yield the number of groups in each split, and the times that each split is from, where these decide."""
    keys = {name: split.keys for name, split in data.parts.items() if split.keys is not None and len(split)}
    groups = {name: of for name, of in keys.items() if of.groups is not None}
    if groups:
        each = ", ".join(f"{of.num_groups:,} {name}" for name, of in groups.items())
        yield f"groups by {shown(next(iter(groups.values())).group)}: {each}"
    times = {name: of for name, of in keys.items() if of.times is not None}
    if times:
        each = ", ".join(f"{name} {' to '.join(dict.fromkeys(of.span()))}" for name, of in times.items())
        yield f"times by {shown(next(iter(times.values())).time)}: {each}"


def missing_targets(data: Opened, *, trains: bool) -> Iterator[str]:
    """Yield a note for each split that has no sample of some class or label."""
    for part, counts in _counts(data, trains).items():
        names = [name for name, count in zip(data.targets.names, counts, strict=True) if not count]
        if names:
            which = SINGULAR[data.targets.kind] if len(names) == 1 else data.targets.kind
            yield f"the {_words(part)} has no samples of the {which} {few(names)}"


def few_samples(data: Opened, *, trains: bool) -> str:
    """Return for each split how many classes or labels have few samples, and which has the fewest; empty if none."""
    found = []
    for part, counts in _counts(data, trains).items():
        by_class = zip(data.targets.names, counts, strict=True)
        small = [(count, name) for name, count in by_class if 0 < count < FEW_SAMPLES]
        if small:
            least, name = min(small)
            fewest = f"{least}, of {SINGULAR[data.targets.kind]} {name}"
            found.append(f"{len(small):,} of {len(counts):,} in {part} (fewest: {fewest})")
    return ", ".join(found)


def imbalance(data: Opened, loss: Mapping[str, Any]) -> str:
    """Return a line on imbalanced classes or labels of the training split, with the setting that helps.

    Empty if they are balanced, if one has no samples, or if the loss already weights them or cannot.
    """
    key = next((f"loss.{name}" for name in _WEIGHTS.get(data.targets.kind, ()) if name in loss), None)
    if key is None or loss[key.partition(".")[2]] is not None or not str(loss.get("_target_")).startswith("nnrun."):
        return ""
    counts = dict(zip(data.targets.names, data.target_counts, strict=True))
    rarest = min(counts, key=lambda name: counts[name])
    if data.targets.kind == "classes":
        commonest = max(counts, key=lambda name: counts[name])
        most = counts[commonest]
        sizes = f"class {commonest} has {most:,} training samples and {rarest} {counts[rarest]:,}"
    else:
        most = len(data.train) - counts[rarest]
        sizes = f"{counts[rarest]:,} training samples have the label {rarest} and {most:,} do not"
    if not 0 < counts[rarest] * MAX_RATIO < most:
        return ""
    return f"imbalanced {data.targets.kind}: {sizes}; {key}=balanced gives them equal weight"


def _counts(data: Opened, trains: bool) -> dict[str, list[int]]:
    """Return how many samples each class or label has in each split that is not empty and that the run reads."""
    if data.targets.kind == "values":
        return {}
    parts = {name: split for name, split in data.parts.items() if len(split) and (trains or name != "train")}
    return {name: target_counts(split.targets, data.targets) for name, split in parts.items()}


def _words(part: str) -> str:
    return {"train": "training split", "valid": "validation split", "test": "test split"}[part]

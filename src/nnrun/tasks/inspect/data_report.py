"""What is in a data set: samples by class and part, the same sample twice, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from nnrun.assembly.data.opened import Opened
from nnrun.base.targets import Targets
from nnrun.core.seams.data import Split
from nnrun.core.target_values import target_counts
from nnrun.runs.console import Sheet

# How many groups of the same sample are kept, how many classes shown: more are counted.
_MOST_GROUPS = 100
_MOST_CLASSES = 40
# What a source of pictures counts.
_FACTS = (
    ("skipped", "left out", "{:,} files cannot be read"),
    ("unlabelled", "left out", "{:,} pictures are in no class folder"),
    ("other_files", "left out", "{:,} files in class folders have no suffix of an image"),
    ("converted", "converted", "{:,} pictures to other channels"),
    ("resized", "resized", "{:,} pictures"),
    ("cropped", "cropped", "{:,} of these, at both ends of the longer side"),
    ("several_pictures", "several", "{:,} files hold more pictures than the first, which is taken"),
)


@dataclass(frozen=True)
class DataReport:
    """What was found of a data set, in plain values.

    `counts` is by part and class. `repeated` are groups of samples that are the same, value for value; of a pair of
    parts, `shared` counts the samples of the second that are in the first too; `contradicting` counts the groups whose
    samples are of several classes.
    """

    sample_shape: list[int]
    counts: dict[str, dict[str, int]]
    num_repeated: int
    repeated: list[list[str]]
    contradicting: int
    shared: dict[str, int]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def report_data(data: Opened) -> DataReport:
    """Return what is in an opened data set; every sample is read once."""
    parts = data.parts
    hashes = {name: split.digested() for name, split in parts.items()}
    places: dict[int, list[tuple[str, int]]] = {}
    for name, part_hashes in hashes.items():
        for index, digest in enumerate(part_hashes.tolist()):
            places.setdefault(digest, []).append((name, index))
    groups = [group for group in places.values() if len(group) > 1]
    contradicting = sum(len({int(parts[name].targets[index]) for name, index in group}) > 1 for group in groups)
    pairs = [("train", "valid"), ("train", "test"), ("valid", "test")]
    shared = {
        f"{first} and {second}": int(torch.isin(hashes[second], hashes[first]).sum())
        for first, second in pairs
        if first in parts and second in parts
    }
    return DataReport(
        sample_shape=list(data.in_shape),
        counts={name: _counts(split, data.targets) for name, split in parts.items()},
        num_repeated=sum(len(group) - 1 for group in groups),
        repeated=[[_called(parts[name], name, index) for name, index in group] for group in groups[:_MOST_GROUPS]],
        contradicting=contradicting,
        shared=shared,
        facts=dict(data.findings.facts),
    )


def _counts(split: Split, targets: Targets) -> dict[str, int]:
    """Return how many samples each class has."""
    return dict(zip(targets.names, target_counts(split.targets, targets), strict=True))


def _called(split: Split, part: str, index: int) -> str:
    """Return what a person calls a sample."""
    return split.names[index] if split.names is not None else f"{part} {index}"


def data_table(report: DataReport) -> Sheet:
    """Return the counts by class and part as a table."""
    table = Sheet(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    table.add_column("class", overflow="fold", style="cyan")
    for part in report.counts:
        table.add_column(part, justify="right")
    names = list(next(iter(report.counts.values())))
    for name in names[:_MOST_CLASSES]:
        table.add_row(name, *(f"{counts[name]:,}" for counts in report.counts.values()))
    if len(names) > _MOST_CLASSES:
        rest = names[_MOST_CLASSES:]
        sums = (sum(counts[name] for name in rest) for counts in report.counts.values())
        table.add_row(f"{len(rest)} more classes", *(f"{total:,}" for total in sums))
    table.add_row("all", *(f"{sum(counts.values()):,}" for counts in report.counts.values()), style="bold")
    return table


def findings_table(report: DataReport) -> Sheet:
    """Return what was found besides the counts, a row each; what was not found is left out."""
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for title, text in _findings(report):
        table.add_row(title, text)
    return table


def _findings(report: DataReport) -> Iterator[tuple[str, str]]:
    """Yield what was found, a title and a text each."""
    facts = report.facts
    yield "a sample", "x".join(map(str, report.sample_shape))
    if len(sizes := facts.get("sizes") or {}) > 1:
        yield "as stored", ", ".join(f"{size} ({number:,})" for size, number in sizes.items())
    train = Counter(report.counts["train"])
    (most, largest), (least, smallest) = train.most_common(1)[0], min(train.items(), key=lambda item: item[1])
    if smallest and largest >= 2 * smallest:
        yield "uneven", f"{most} has {largest / smallest:.1f} times as many samples as {least}"
    yield "repeated", f"{report.num_repeated:,} samples are the same as another one{_first(report.repeated)}"
    if report.contradicting:
        yield "contradicting", f"{report.contradicting:,} samples are there under several classes"
    for pair, number in report.shared.items():
        if number:
            yield "shared", f"{number:,} samples are in {pair}"
    for key, title, text in _FACTS:
        if facts.get(key):
            yield title, text.format(facts[key])


def _first(groups: Sequence[Sequence[str]]) -> str:
    """Return the first group of samples that are the same, as an example."""
    return f", such as {' = '.join(groups[0][:3])}" if groups else ""

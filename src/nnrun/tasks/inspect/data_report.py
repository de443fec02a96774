"""Report on a data set: its targets by split, duplicate samples, skipped files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.assembly.data.opened import Opened
from nnrun.base.shown import counted
from nnrun.base.targets import SINGULAR
from nnrun.config.interpolation import plain_shapes
from nnrun.core.seams.data import Split
from nnrun.runs.sheet import Sheet
from nnrun.tasks.inspect.target_report import bars, counts_of, spread_of, together_of

# Maximum number of groups of duplicates kept, and of classes and pairs shown; the rest are counted.
_MOST_GROUPS = 100
_MOST_CLASSES = 40
_MOST_PAIRS = 3
# Minimum width of the column of names; on a narrow terminal, a longer name takes several lines.
_LEAST_NAME_WIDTH = 16
# What an image source counts: its key, a title, what is counted, and the rest of the text.
_FACTS = (
    ("skipped", "skipped", "unreadable file", ""),
    ("unlabelled", "skipped", "image", " in no class folder"),
    ("other_files", "skipped", "file", " without an image suffix in class folders"),
    ("converted", "converted", "image", " to gray or RGB"),
    ("resized", "resized", "image", ""),
    ("cropped", "cropped", "image", ", at both ends of the longer side"),
    ("several_pictures", "several", "file", " with several images; the first is used"),
)


@dataclass(frozen=True)
class DataReport:
    """The findings about a data set, as plain values.

    `samples` are by split, `counts` by split and class or label, `spread` by split and value; `together` is about the
    labels of the training split. `repeated` are groups of samples whose values are identical; `contradicting` counts
    the groups whose samples have different targets. For a pair of splits, `shared` counts the samples of the second
    that are also in the first.
    """

    sample_shape: Any
    kind: str
    samples: dict[str, int]
    counts: dict[str, dict[str, int]]
    spread: dict[str, dict[str, dict[str, Any]]]
    together: dict[str, Any]
    num_repeated: int
    repeated: list[list[str]]
    contradicting: int
    shared: dict[str, int]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def report_data(data: Opened) -> DataReport:
    """Return the report on an opened data set; every sample is read once."""
    parts = data.parts
    hashes = {name: split.digested() for name, split in parts.items()}
    places: dict[int, list[tuple[str, int]]] = {}
    for name, part_hashes in hashes.items():
        for index, digest in enumerate(part_hashes.tolist()):
            places.setdefault(digest, []).append((name, index))
    groups = [group for group in places.values() if len(group) > 1]
    contradicting = sum(_differ([parts[name].targets[index] for name, index in group]) for group in groups)
    pairs = [("train", "valid"), ("train", "test"), ("valid", "test")]
    shared = {
        f"{first} and {second}": int(torch.isin(hashes[second], hashes[first]).sum())
        for first, second in pairs
        if first in parts and second in parts
    }
    return DataReport(
        sample_shape=plain_shapes(data.in_shape),
        kind=data.targets.kind,
        samples={name: len(split) for name, split in parts.items()},
        counts={name: counts_of(split, data.targets) for name, split in parts.items()},
        spread=spread_of(parts, data.targets),
        together=together_of(data.train, data.targets),
        num_repeated=sum(len(group) - 1 for group in groups),
        repeated=[[_called(parts[name], name, index) for name, index in group] for group in groups[:_MOST_GROUPS]],
        contradicting=contradicting,
        shared=shared,
        facts=dict(data.findings.facts),
    )


def _differ(targets: Sequence[Tensor]) -> bool:
    """Return whether the targets are not all equal."""
    return any(not torch.equal(target, targets[0]) for target in targets)


def _called(split: Split, part: str, index: int) -> str:
    """Return a sample's name, or its split and index if it has none."""
    return split.names[index] if split.names is not None else f"{part} {index}"


def data_table(report: DataReport) -> Sheet:
    """Return a table of the counts by split and class or label, or of the distributions of values."""
    table = Sheet(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    table.add_column(SINGULAR[report.kind], overflow="fold", style="cyan", least_width=_LEAST_NAME_WIDTH)
    for number, part in enumerate(report.samples):
        table.add_column(part, justify="left" if report.spread else "right", no_wrap=True, importance=number)
    if report.spread:
        for name in list(report.spread["train"])[:_MOST_CLASSES]:
            table.add_row(name, *(_spread_line(report.spread[part][name]) for part in report.spread))
    else:
        _add_counts(table, report)
    table.add_row("all", *(f"{number:,}" for number in report.samples.values()), style="bold")
    return table


def columns_table(report: DataReport) -> Sheet | None:
    """Return a table of the columns of a table of data: a histogram for each split, and how far it is from train's.

    None where the samples have no columns.
    """
    columns = report.facts.get("distributions")
    if not columns:
        return None
    table = Sheet(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("column", overflow="fold", style="cyan", least_width=_LEAST_NAME_WIDTH)
    parts = list(report.samples)
    for number, part in enumerate(parts):
        table.add_column(part, no_wrap=True, importance=number)
    table.add_column("PSI", justify="right", no_wrap=True)
    for name, about in list(columns.items())[:_MOST_CLASSES]:
        index = max(about["psi"].values(), default=0.0)
        lines = [bars(about["counts"][part]) if part in about["counts"] else "" for part in parts]
        table.add_row(name, *lines, f"{index:.2f}")
    return table


def _spread_line(spread: Mapping[str, Any]) -> str:
    """Return the minimum, a histogram and the maximum of a value."""
    return f"{spread['min']:.4g} {bars(spread['histogram'])} {spread['max']:.4g}"


def _add_counts(table: Sheet, report: DataReport) -> None:
    """Add a row for each class or label, and one for the sum of those that are too many."""
    names = list(next(iter(report.counts.values())))
    for name in names[:_MOST_CLASSES]:
        table.add_row(name, *(f"{counts[name]:,}" for counts in report.counts.values()))
    if len(names) > _MOST_CLASSES:
        rest = names[_MOST_CLASSES:]
        sums = (sum(counts[name] for name in rest) for counts in report.counts.values())
        table.add_row(f"{len(rest)} more {report.kind}", *(f"{total:,}" for total in sums))


def findings_table(report: DataReport) -> Sheet:
    """Return a table of the findings besides the counts; there are no rows for what was not found."""
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for title, text in _findings(report):
        table.add_row(title, text)
    return table


def _findings(report: DataReport) -> Iterator[tuple[str, str]]:
    """Yield the findings: a title and a text each."""
    facts = report.facts
    yield "a sample", _shape_line(report.sample_shape)
    if len(sizes := facts.get("sizes") or {}) > 1:
        yield "as stored", ", ".join(f"{size} ({number:,})" for size, number in sizes.items())
    if train := report.counts["train"]:
        most, least = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
        if train[least] and train[most] >= 2 * train[least]:
            yield "uneven", f"{most} has {train[most] / train[least]:.1f} times as many samples as {least}"
    for name, spread in list(report.spread.get("train", {}).items())[:_MOST_CLASSES]:
        yield "mean", f"{name} {spread['mean']:.4g} ± {spread['std']:.4g} (standard deviation) in train"
    if labels := report.together:
        yield "labels", f"{labels['mean']:.2f} per sample, at most {labels['most']}; {labels['none']:,} without labels"
        if pairs := [f"{ours} and {theirs} ({number:,})" for ours, theirs, number in labels["pairs"][:_MOST_PAIRS]]:
            yield "together", ", ".join(pairs)
    yield "repeated", f"{counted(report.num_repeated, 'duplicate')} of another sample{_first(report.repeated)}"
    if report.contradicting:
        yield "contradicting", f"{counted(report.contradicting, 'sample')} with different {report.kind}"
    for pair, number in report.shared.items():
        if number:
            yield "shared", f"{counted(number, 'sample')} in both {pair}"
    for key, title, noun, rest in _FACTS:
        if facts.get(key):
            yield title, counted(facts[key], noun) + rest


def _shape_line(shape: Any) -> str:
    """Return the shape of a sample, or the shapes by name."""
    if isinstance(shape, Mapping):
        return ", ".join(f"{name} {_shape_line(of)}" for name, of in shape.items())
    if any(isinstance(of, list | Mapping) for of in shape):
        return ", ".join(map(_shape_line, shape))
    return "x".join(map(str, shape)) or "a number"


def _first(groups: Sequence[Sequence[str]]) -> str:
    """Return the first group of identical samples, as an example."""
    return f", such as {' = '.join(groups[0][:3])}" if groups else ""

"""A data set from the samples of a map-style Dataset: its targets, its splits, and what to report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.payload import writable
from nnrun.components.data.array_targets import Learned
from nnrun.components.data.cache import Entry
from nnrun.components.data.collated import Collated
from nnrun.components.data.dataset_from_parts import (
    Choices,
    Part,
    dataset_of,
    divided,
    entry_part,
    fingerprint_of,
    with_shared,
)
from nnrun.components.data.found import became, found_in_images
from nnrun.components.data.item_targets import learned_of_items
from nnrun.components.data.map_style_trees import TreePart
from nnrun.components.data.normalize_tree import NormalizeTree, measured
from nnrun.core.seams.data import Dataset, Findings, Split
from nnrun.core.target_values import target_counts


@dataclass(frozen=True)
class Wish:
    """The settings about the targets: the kind, and the order of classes."""

    kind: str = "auto"
    class_order: str = "natural"


def dataset_of_items(
    entry: Entry, datasets: Mapping[str, Any], choices: Choices, findings: Findings, wish: Wish
) -> Dataset:
    """Return the data set of samples that were read from other data sets, set after set."""
    skipped = {index for index, _ in entry.found["skipped"]}
    # If no sample has a label, none are stored.
    given = entry.found["labels"] or [None] * len(entry.samples)
    labels: dict[str, list[Any]] = {}
    rows: dict[str, Tensor] = {}
    place = row = 0
    for part, dataset in datasets.items():
        kept = sum(index not in skipped for index in range(place, place + len(dataset)))
        place += len(dataset)
        rows[part] = torch.arange(row, row + kept)
        labels[part] = given[row : row + kept]
        row += kept
    listed = listed_by(next(iter(datasets.values())))
    targets, values, notes = _learned(labels, listed, choices, wish, drops=not skipped)
    parts: dict[str, Part] = {part: entry_part(entry, rows[part], values[part]) for part in datasets}
    found = found_in_images(entry.found, entry.samples.shape[1:])
    said = (*findings.notes, *notes, *found.notes)
    both = replace(found, notes=said, facts={**findings.facts, **found.facts})
    dataset = dataset_of(parts, targets, choices, both)
    return replace(dataset, became=became(entry.found, dataset.in_shape))


def dataset_of_trees(
    read: Mapping[str, TreePart], listed: Sequence[str] | None, choices: Choices, findings: Findings, wish: Wish
) -> Dataset:
    """Return the data set of samples that are not images, in memory."""
    labels = {part: of.labels for part, of in read.items()}
    skipped = [failure for of in read.values() for failure in of.failures]
    targets, values, notes = _learned(labels, listed, choices, wish, drops=not skipped)
    splits = {
        part: Split(of.inputs, values[part], digests=of.digests, originals=of.digests) for part, of in read.items()
    }
    parts = divided(splits, targets, choices)
    if skipped:
        notes = (
            *notes,
            f"skipped: {counted(len(skipped), 'sample')} that cannot be read (data.on_bad=skip); run.log names them",
        )
    said = Findings((*findings.notes, *notes), tuple(f"skipped: {one}" for one in skipped), {"skipped": len(skipped)})
    learned_from = parts["train"] if len(parts["train"]) else parts["test"]
    first = next(iter(read.values()))
    has_digests = first.digests is not None
    return Dataset(
        train=parts["train"],
        test=parts["test"],
        targets=targets,
        preprocessing=NormalizeTree({})
        if isinstance(learned_from.inputs, Collated)
        else measured(learned_from.inputs, first.lengths),
        valid=parts.get("valid"),
        fingerprint=fingerprint_of(parts, targets) if has_digests else None,
        findings=with_shared(said, parts),
        test_is_drawn="test" not in read,
        facts={"vocab_size": max(sizes)}
        if (sizes := [of.facts["vocab_size"] for of in read.values() if of.facts])
        else {},
    )


def _learned(
    labels: Mapping[str, list[Any]], listed: Sequence[str] | None, choices: Choices, wish: Wish, *, drops: bool
) -> Learned:
    """Return what is learned, and the targets of each split; `drops` removes listed classes without samples."""
    known = choices.evaluation.targets if choices.evaluation else None
    learned = learned_of_items(labels, wish.kind, wish.class_order, listed, known)
    if learned.targets.kind != "classes" or known is not None or not drops:
        return learned
    targets, numbers, notes = without_empty(learned.targets, learned.values)
    return Learned(targets, numbers, (*notes, *learned.notes))


def without_empty(targets: Targets, numbers: Mapping[str, Tensor]) -> tuple[Targets, dict[str, Tensor], list[str]]:
    """Return classes and numbers without the listed classes that have no sample in any split, and a note.

    A class with samples only outside the training split is kept: it is an error elsewhere, as it cannot be learned.
    """
    counts = torch.tensor([target_counts(of, targets) for of in numbers.values()]).sum(0)
    kept = counts > 0
    names = tuple(name for name, is_kept in zip(targets.names, kept.tolist(), strict=True) if is_kept)
    empty = [name for name, is_kept in zip(targets.names, kept.tolist(), strict=True) if not is_kept]
    if not empty:
        return targets, dict(numbers), []
    if len(names) < 2:
        raise DataError(f"only one class has samples, {', '.join(names)}; classification needs at least two classes")
    place = kept.cumsum(0) - 1
    note = f"dropped: {len(empty):,} of {targets.num_outputs:,} listed classes, without samples: {few(empty)}"
    return Targets.classes(names), {part: place[of] for part, of in numbers.items()}, [note]


def listed_by(dataset: Any) -> tuple[str, ...] | None:
    """Return the names of a data set's classes, or of its targets' elements, if it lists them."""
    for attribute, least in (("classes", 2), ("target_names", 1)):
        names = getattr(dataset, attribute, None)
        if isinstance(names, list | tuple) and len(names) >= least:
            return tuple(writable(str(name)) for name in names)
    return None

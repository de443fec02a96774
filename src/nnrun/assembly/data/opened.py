"""The data of a run, opened: read, checked, its validation part held out, its fingerprint known."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch.utils._pytree import tree_leaves

from nnrun.assembly.data.batch_size import check_batch
from nnrun.assembly.data.source import load_dataset
from nnrun.base.errors import DataError, shown
from nnrun.base.host import fits_in_memory
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.checkpoints.saveable import plain_names
from nnrun.config.interpolation import known_late
from nnrun.config.schema import DataSettings
from nnrun.core.randomness import SPLIT
from nnrun.core.seams.data import Dataset, Evaluation, Findings, Preprocessing, Split, Tree
from nnrun.core.splits import Drawing
from nnrun.core.target_values import fault_in, strata, target_counts
from nnrun.core.trees import samples_of


@dataclass(frozen=True)
class Opened:
    """The three parts of a data set, on the host, and what a network needs to know of it."""

    train: Split
    valid: Split | None
    test: Split
    targets: Targets
    preprocessing: Preprocessing
    in_shape: Tree
    findings: Findings = field(default_factory=Findings)
    # What stands for the samples, and for which of them are in which part, where the source knows it.
    source_fingerprint: str | None = None
    # Settings of `data` that the samples decided, by name.
    became: Mapping[str, Any] = field(default_factory=dict)
    # Whether a part was held out of the samples to train on, by the settings, and was not one of the data's own.
    test_is_drawn: bool = False
    valid_is_drawn: bool = False
    # How many test samples the data has; data.limit may take fewer.
    num_test: int = 0
    # What else a network's section may ask for, plain values by name.
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Any]:
        """What the data turned out to be, as settings of `data`."""
        return known_late(self.in_shape, self.targets, self.facts)

    @property
    def parts(self) -> dict[str, Split]:
        """The parts that there are, by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @functools.cached_property
    def target_counts(self) -> list[int]:
        """How many training samples each class or label has; of values nothing."""
        return target_counts(self.train.targets, self.targets)

    @property
    def num_bytes(self) -> int:
        """How much memory the samples of all parts take."""
        return sum(split.num_bytes for split in self.parts.values())

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of every sample and target in their order: the same for the same data, wherever it lies."""
        if self.source_fingerprint is not None:
            return self.source_fingerprint
        sha256 = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            if split is not None:
                for leaf in (*tree_leaves(split.inputs), split.targets):
                    sha256.update(leaf.contiguous().numpy())
        return sha256.hexdigest()


def open_data(settings: DataSettings, *, checks_batch: bool, evaluation: Evaluation | None = None) -> Opened:
    """Read the data that a config names; raise DataError where it is wrong or does not fit the config.

    `checks_batch` says whether a batch must fit into the training part. An `evaluation` says what trained network the
    data are to measure.
    """
    # What was opened is let go before its samples are copied: of very many, what stands for each takes room too.
    return in_memory(
        take_parts(
            load_dataset(settings, evaluation, checks_batch=checks_batch),
            settings,
            checks_batch=checks_batch,
            evaluates=evaluation is not None,
        ),
        settings,
    )


def in_memory(opened: Opened, settings: DataSettings) -> Opened:
    """Return data with its samples in memory, unless they are to be read from their files as they are needed."""
    if settings.residency == "stream" or (settings.residency == "auto" and not fits_in_memory(opened.num_bytes)):
        return opened
    train, valid, test = opened.train, opened.valid, opened.test
    return replace(opened, train=train.loaded(), valid=valid.loaded() if valid else None, test=test.loaded())


def take_parts(dataset: Dataset, settings: DataSettings, *, checks_batch: bool, evaluates: bool) -> Opened:
    """Return the parts of a data set that was read, at most as many samples as asked for, its validation held out."""
    targets = replace(dataset.targets, names=plain_names(dataset.targets.names, settings.name, dataset.targets.kind))
    train, valid, test = dataset.train, dataset.valid, dataset.test
    is_tested_alone = evaluates and len(train) == 0
    for name, split in (("training", train), ("validation", valid), ("test", test)):
        if split is not None and not (name == "training" and is_tested_alone):
            _check_targets(name, split, targets, settings.name)
    in_shape = dataset.in_shape
    _check_claims(known_late(in_shape, targets, dataset.facts), settings)
    if settings.limit is not None:
        drawing = Drawing(settings.split_by, SPLIT, settings.split_seed)
        train, test = (limited(split, targets, settings.limit, drawing) for split in (train, test))
        valid = limited(valid, targets, settings.limit, drawing) if valid is not None else None
    if valid is None and not is_tested_alone:
        train, valid = _held_out(train, targets, settings, evaluates=evaluates)
    if len(train) == 0 and not is_tested_alone:
        raise DataError(f"data.val_fraction={settings.val_fraction:g} leaves no sample to train on; lower it")
    if checks_batch:
        check_batch(settings.batch_size, len(train))
    return Opened(
        train=train,
        valid=valid,
        test=test,
        targets=targets,
        preprocessing=dataset.preprocessing,
        in_shape=in_shape,
        findings=dataset.findings,
        source_fingerprint=_fingerprint(dataset, settings),
        became=dataset.became,
        test_is_drawn=dataset.test_is_drawn,
        valid_is_drawn=dataset.valid is None,
        num_test=len(dataset.test),
        facts=dataset.facts,
    )


def _check_claims(known: Mapping[str, Any], settings: DataSettings) -> None:
    """Raise DataError where the settings say of the data what it is not."""
    for key, found in known.items():
        claim = getattr(settings, key)
        if claim is not None and claim != found:
            has = "no classes" if key == "num_classes" and found == "???" else found
            is_sized = key == "in_shape" and settings.image_size not in (None, "auto")
            why = f" (data.image_size={shown(settings.image_size)})" if is_sized else ""
            raise DataError(f"data.{key} is {claim}, and {settings.name} has {has}{why}")


def _held_out(train: Split, targets: Targets, settings: DataSettings, *, evaluates: bool) -> tuple[Split, Split | None]:
    """Return what is left to train on, and the validation part, if one is asked for; an evaluation goes without."""
    if settings.val_fraction == 0:
        return train, None
    if settings.split_by == "content":
        train = replace(train, originals=train.identified())
    drawing = Drawing(settings.split_by, SPLIT, settings.split_seed)
    kept, held_out = drawing.hold_out(strata(train.targets, targets), train.identified, settings.val_fraction)
    if len(held_out):
        return train.subset(kept), train.subset(held_out)
    if evaluates:
        return train, None
    raise DataError(
        f"data.val_fraction={settings.val_fraction:g} of {counted(len(train), 'sample')} leaves none for validation; "
        "raise it"
    )


def _fingerprint(dataset: Dataset, settings: DataSettings) -> str | None:
    """Return what stands for the samples of all parts, where the source says what stands for all that it brings."""
    if dataset.fingerprint is None:
        return None
    choice: tuple[object, ...] = (dataset.fingerprint, settings.limit, settings.split_seed, settings.val_fraction)
    if settings.split_by != "position":
        choice = (*choice, settings.split_by)
    return hashlib.sha256(repr(choice).encode()).hexdigest()


def _check_targets(name: str, split: Split, targets: Targets, data: str) -> None:
    """Raise DataError where a split is empty, or has not a target for each sample, such as `targets` says."""
    if len(split) == 0:
        raise DataError(f"data={data}: the {name} split is empty")
    for leaf in tree_leaves(split.inputs):
        if len(leaf) != len(split):
            raise DataError(
                f"data={data}: the {name} split has {counted(len(leaf), 'input')} and {counted(len(split), 'target')}"
            )
    if fault := fault_in(split.targets, targets):
        raise DataError(f"data={data}: the {name} split has {fault}")


def limited(split: Split, targets: Targets, limit: int, drawing: Drawing) -> Split:
    """Return at most `limit` samples, each class with its share."""
    if limit >= len(split):
        return split
    return split.subset(drawing.limit(strata(split.targets, targets), split.identified, limit))


def noted(data: Opened, note: str, other: bool = False, left_out: Mapping[str, int] | None = None) -> Opened:
    """Return data with one more thing to say of it."""
    facts = dict(data.findings.facts) | ({"other_data": True} if other else {})
    facts |= {f"seen_left_out_of_{part}": count for part, count in (left_out or {}).items()}
    return replace(data, findings=replace(data.findings, notes=(*data.findings.notes, note), facts=facts))


def head(split: Split, count: int = 4) -> Tree:
    """Return the first raw inputs of a split, as an example batch."""
    return samples_of(split.inputs, slice(count))

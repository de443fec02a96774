"""The data of a run, opened: read, checked, validation split held out, fingerprint computed."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from torch.utils._pytree import tree_leaves, tree_map

from nnrun.assembly.data.batch_size import check_batch
from nnrun.assembly.data.checks import check_claims, check_targets
from nnrun.assembly.data.source import load_dataset
from nnrun.base.errors import DataError
from nnrun.base.host import fits_in_memory
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.checkpoints.saveable import plain_names
from nnrun.config.auto import AUTO
from nnrun.config.interpolation import known_late
from nnrun.config.schema import DataSettings
from nnrun.core.randomness import SPLIT
from nnrun.core.seams.data import Dataset, Evaluation, Findings, Fitted, Preprocessing, Split, Tree
from nnrun.core.splits import Drawing
from nnrun.core.target_values import strata, target_counts
from nnrun.core.trees import samples_of


@dataclass(frozen=True)
class Opened:
    """The three splits of a data set, on the host, and the facts that a network needs."""

    train: Split
    valid: Split | None
    test: Split
    targets: Targets
    preprocessing: Preprocessing
    in_shape: Tree
    findings: Findings = field(default_factory=Findings)
    # A hash of the samples and of their splits, if the source provides one.
    source_fingerprint: str | None = None
    # Settings of `data` that the samples decided, by name.
    became: Mapping[str, Any] = field(default_factory=dict)
    # Whether a split was held out of the training samples by the settings, instead of coming with the data.
    test_is_drawn: bool = False
    valid_is_drawn: bool = False
    # How many test samples the data has; data.limit may take fewer.
    num_test: int = 0
    # Further plain values, by name, that a network's section may refer to.
    facts: Mapping[str, Any] = field(default_factory=dict)
    # Held while the fingerprint is computed.
    _hashing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def known(self) -> dict[str, Any]:
        """The facts of the data, as settings of `data`."""
        return known_late(self.in_shape, self.targets, self.facts)

    @property
    def parts(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @functools.cached_property
    def target_counts(self) -> list[int]:
        """How many training samples each class or label has; empty for values."""
        return target_counts(self.train.targets, self.targets)

    @property
    def num_bytes(self) -> int:
        """How much memory the samples of all splits take."""
        return sum(split.num_bytes for split in self.parts.values())

    @property
    def fingerprint(self) -> str:
        """A hash of every sample and target in order: the same for the same data, wherever it is stored."""
        with self._hashing:
            return self._fingerprint

    def hash_ahead(self) -> None:
        """Start to compute the fingerprint in a thread; hashing leaves Python free to build the network meanwhile."""
        with suppress(RuntimeError):  # no thread is left to this process or user: it is computed when it is needed
            threading.Thread(target=self._hash, daemon=True).start()

    def _hash(self) -> None:
        with suppress(Exception), self._hashing:  # the error is raised again where the fingerprint is needed
            _ = self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        if self.source_fingerprint is not None:
            return self.source_fingerprint
        sha256 = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            if split is not None:
                for leaf in (*tree_leaves(split.inputs), split.targets):
                    sha256.update(leaf.contiguous().numpy())
        return sha256.hexdigest()


def open_data(
    settings: DataSettings,
    *,
    checks_batch: bool,
    evaluation: Evaluation | None = None,
    learned: Mapping[str, Any] | None = None,
) -> Opened:
    """Read the data that a config names; raise DataError where it is wrong or does not fit the config.

    `checks_batch` says whether a batch must fit into the training split. `evaluation` describes the trained network
    that is to be evaluated on the data; `learned` is the preprocessing of the weights that a training starts from.
    """
    # The data set is freed before its samples are copied: with very many samples even its index takes much memory.
    return in_memory(
        take_parts(
            load_dataset(settings, evaluation, checks_batch=checks_batch, learned=learned),
            settings,
            checks_batch=checks_batch,
            evaluates=evaluation is not None,
        ),
        settings,
    )


def in_memory(opened: Opened, settings: DataSettings) -> Opened:
    """Return data with its samples in memory, unless they are streamed from their files."""
    if settings.residency == "stream" or (settings.residency == "auto" and not fits_in_memory(opened.num_bytes)):
        return opened
    train, valid, test = opened.train, opened.valid, opened.test
    return replace(opened, train=train.loaded(), valid=valid.loaded() if valid else None, test=test.loaded())


def take_parts(dataset: Dataset, settings: DataSettings, *, checks_batch: bool, evaluates: bool) -> Opened:
    """Return the splits of a data set, limited to `data.limit` samples, with a validation split held out."""
    targets = replace(dataset.targets, names=plain_names(dataset.targets.names, settings.name, dataset.targets.kind))
    train, valid, test = dataset.train, dataset.valid, dataset.test
    is_tested_alone = evaluates and len(train) == 0
    for name, split in (("training", train), ("validation", valid), ("test", test)):
        if split is not None and not (name == "training" and is_tested_alone):
            check_targets(name, split, targets, settings.name)
    if dataset.fit is None:
        check_claims(known_late(dataset.in_shape, targets, dataset.facts), settings)
    if settings.limit is not None:
        drawing = Drawing(settings.split_by, SPLIT, settings.split_seed)
        train, test = (limited(split, targets, settings.limit, drawing) for split in (train, test))
        valid = limited(valid, targets, settings.limit, drawing) if valid is not None else None
    findings, num_before = dataset.findings, len(train)
    if valid is None and not is_tested_alone:
        train, valid = _held_out(train, targets, settings, evaluates=evaluates)
        if num_unused := num_before - len(train) - (0 if valid is None else len(valid)):
            why = f"they are newer than the samples that fold {settings.fold} is validated on"
            findings = replace(findings, notes=(*findings.notes, f"unused: {counted(num_unused, 'sample')}: {why}"))
    if len(train) == 0 and not is_tested_alone:
        raise DataError(f"data.val_fraction={settings.val_fraction:g} leaves no samples for training; lower it")
    if checks_batch and settings.batch_size != AUTO:
        check_batch(settings.batch, len(train))
    opened = Opened(
        train=train,
        valid=valid,
        test=test,
        targets=targets,
        preprocessing=dataset.preprocessing,
        in_shape=dataset.in_shape,
        findings=findings,
        source_fingerprint=_fingerprint(dataset, settings),
        became=dataset.became,
        test_is_drawn=dataset.test_is_drawn,
        valid_is_drawn=dataset.valid is None,
        num_test=len(dataset.test),
        facts=dataset.facts,
    )
    if dataset.fit is not None:
        opened = _fitted(opened, dataset.fit)
        check_claims(opened.known, settings)
    return opened


def _fitted(opened: Opened, fit: Callable[[Mapping[str, Split]], Fitted]) -> Opened:
    """Return data with what is learned of its training split, which is known only now."""
    splits, preprocessing, facts, findings = fit(opened.parts)
    return replace(
        opened,
        train=splits["train"],
        valid=splits.get("valid"),
        test=splits["test"],
        preprocessing=preprocessing,
        in_shape=tree_map(lambda leaf: tuple(leaf.shape[1:]), splits["train"].inputs),
        facts={**opened.facts, **facts},
        findings=opened.findings.with_more(findings),
    )


def _held_out(train: Split, targets: Targets, settings: DataSettings, *, evaluates: bool) -> tuple[Split, Split | None]:
    """Return the rest to train on, and the validation split, if one is asked for; an evaluation can go without it."""
    if settings.val_fraction == 0 and settings.num_folds is None:
        return train, None
    if settings.split_by == "content":
        train = replace(train, originals=train.identified())
    drawing = Drawing(settings.split_by, SPLIT, settings.split_seed)
    among = strata(train.targets, targets, train.keys)
    if settings.num_folds is not None:
        kept, held_out = drawing.fold(among, train.identified, settings.fold - 1, settings.num_folds, train.keys)
        if len(kept) and len(held_out):
            return train.subset(kept), train.subset(held_out)
        raise DataError(
            f"data.fold={settings.fold} of data.num_folds={settings.num_folds} leaves none of "
            f"{counted(len(train), 'sample')} for training or validation; use fewer folds"
        )
    kept, held_out = drawing.hold_out(among, train.identified, settings.val_fraction, train.keys)
    if len(held_out):
        return train.subset(kept), train.subset(held_out)
    if evaluates:
        return train, None
    if train.keys is not None:
        raise DataError(
            f"{train.keys.why_whole()}, so no validation split can be held out of the training split; use "
            "data.val_fraction=0"
        )
    raise DataError(
        f"data.val_fraction={settings.val_fraction:g} of {counted(len(train), 'sample')} leaves none for validation; "
        "raise it"
    )


def _fingerprint(dataset: Dataset, settings: DataSettings) -> str | None:
    """Return a hash of the samples of all splits, if the source provides one of all its samples."""
    if dataset.fingerprint is None:
        return None
    choice: tuple[object, ...] = (dataset.fingerprint, settings.limit, settings.split_seed, settings.val_fraction)
    if settings.split_by != "position":
        choice = (*choice, settings.split_by)
    if settings.num_folds is not None:
        choice = (*choice, settings.fold, settings.num_folds)
    if dataset.train.keys is not None:
        choice = (*choice, dataset.train.keys.fingerprint())
    return hashlib.sha256(repr(choice).encode()).hexdigest()


def limited(split: Split, targets: Targets, limit: int, drawing: Drawing) -> Split:
    """Return a maximum of `limit` samples, stratified by class."""
    if limit >= len(split):
        return split
    return split.subset(drawing.limit(strata(split.targets, targets), split.identified, limit))


def noted(data: Opened, note: str, other: bool = False, left_out: Mapping[str, int] | None = None) -> Opened:
    """Return data with one more note on it."""
    facts = dict(data.findings.facts) | ({"other_data": True} if other else {})
    facts |= {f"seen_left_out_of_{part}": count for part, count in (left_out or {}).items()}
    return replace(data, findings=replace(data.findings, notes=(*data.findings.notes, note), facts=facts))


def head(split: Split, count: int = 4) -> Tree:
    """Return the first raw inputs of a split, as an example batch."""
    return samples_of(split.inputs, slice(count))

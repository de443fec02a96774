"""A data set from decoded samples: its splits, its preprocessing, and what to report about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.checkpoints.aliases import first_name
from nnrun.components.data.cache import Entry
from nnrun.components.data.normalize import Normalize, Standardize
from nnrun.components.data.sample_stats import Measures
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.lazy_samples import Stored
from nnrun.core.randomness import TEST_SPLIT
from nnrun.core.sample_hashes import among
from nnrun.core.seams.data import Dataset, Evaluation, Findings, Preprocessing, Split
from nnrun.core.splits import Drawing
from nnrun.core.target_values import strata, target_counts

# The fraction held out where the data has no test split and the settings give none.
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Part:
    """Samples that were read: where they are, their measures, their targets, and perhaps their names and keys."""

    samples: Stored
    measures: Measures
    targets: Tensor
    names: Sequence[str] | None = None
    keys: SplitKeys | None = None

    def subset(self, indices: Tensor) -> Part:
        """Return the samples at `indices`."""
        names = None if self.names is None else [self.names[index] for index in indices.tolist()]
        keys = None if self.keys is None else self.keys.subset(indices)
        return Part(self.samples.subset(indices), self.measures.subset(indices), self.targets[indices], names, keys)

    def digested(self) -> Tensor:
        """Return a digest of the values of each sample, int64 `(N,)`."""
        return self.measures.digests

    def identified(self) -> Tensor:
        """Return a digest of each original, the same at any size, int64 `(N,)`."""
        return self.measures.originals

    def __len__(self) -> int:
        return len(self.targets)


# Samples that were decoded and measured, or samples in the form used for training.
Samples = TypeVar("Samples", Part, Split)


@dataclass(frozen=True)
class Choices:
    """The settings with which decoded samples become a data set; `mean` and `std` are measured where they are None.

    `test_fraction` is for data without a test split; None means TEST_FRACTION.
    """

    test_fraction: float | None
    split_seed: int
    split_by: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    evaluation: Evaluation | None = None

    @property
    def fraction(self) -> float:
        """The fraction of the samples held out for the test split."""
        return TEST_FRACTION if self.test_fraction is None else self.test_fraction


def entry_part(
    entry: Entry, rows: Tensor, targets: Tensor, names: Sequence[str] | None = None, keys: SplitKeys | None = None
) -> Part:
    """Return some of the samples of an entry."""
    return Part(entry.samples.subset(rows), entry.measures.subset(rows), targets, names, keys)


def dataset_of(parts: Mapping[str, Part], targets: Targets, choices: Choices, findings: Findings) -> Dataset:
    """Return the data set of some splits: `train`, perhaps `valid` and `test`; a missing `test` is held out."""
    split = divided(parts, targets, choices)
    mean, std = _mean_and_std(split["train"] if len(split["train"]) else split["test"], choices)
    is_pixels = split["train"].samples.dtype == torch.uint8
    splits = {
        name: Split(part.samples, part.targets, part.names, part.measures.digests, part.measures.originals, part.keys)
        for name, part in split.items()
    }
    preprocessing: Preprocessing = Normalize(mean, std) if is_pixels else Standardize(mean, std)
    return Dataset(
        train=splits["train"],
        test=splits["test"],
        targets=targets,
        preprocessing=preprocessing,
        valid=splits.get("valid"),
        fingerprint=_fingerprint(split, targets, preprocessing),
        findings=with_shared(findings, split),
        test_is_drawn="test" not in parts,
    )


def divided(parts: Mapping[str, Samples], targets: Targets, choices: Choices) -> dict[str, Samples]:
    """Return splits that include `train` and `test`; raise DataError where there is nothing to learn."""
    split = with_test(parts, targets, choices)
    if choices.evaluation is None:
        _check_there_is_something_to_learn(split["train"].targets, targets)
    return split


def check_counts(values: Mapping[str, Tensor], targets: Targets, choices: Choices) -> None:
    """Raise what `divided` would raise, as far as the targets alone show it, before any sample is read."""
    if "test" in values:
        _check_fraction_acts(choices)
    if choices.evaluation is not None:
        return
    whole = values["train"] if "train" in values else values["all"]
    if "test" not in values and len(whole) < 2:
        raise _leaves_no_test(choices, len(whole), 0)
    _check_there_is_something_to_learn(whole, targets)


def _check_fraction_acts(choices: Choices) -> None:
    """Raise ConfigError where `test_fraction` is set for data that has a test split."""
    if choices.test_fraction is not None:
        raise ConfigError(
            f"data.dataset.test_fraction={choices.test_fraction:g} has no effect: the data has its own test "
            "split; remove it"
        )


def _leaves_no_test(choices: Choices, number: int, num_test: int) -> DataError:
    """Return the error for too few samples to divide."""
    return DataError(
        f"data.dataset.test_fraction={choices.fraction:g} of {counted(number, 'sample')} leaves {num_test} for the "
        "test split; change it, or add samples"
    )


def _check_there_is_something_to_learn(values: Tensor, targets: Targets) -> None:
    """Raise DataError where a class has no training samples, or all training samples have the same target."""
    if targets.kind == "classes":
        counts = zip(targets.names, target_counts(values, targets), strict=True)
        if missing := [name for name, count in counts if not count]:
            names = ", ".join(missing[:5])
            raise DataError(f"no training samples of class {names}; add some, or remove the class")
    elif bool((values == values[:1]).all()):
        same = ", ".join(f"{value:g}" for value in values[0, :5].tolist())
        text = f"all training samples have the same {targets.kind}, {same}: there is nothing to learn"
        if targets.kind == "values":
            text += "; if they differ only after the seventh digit, which float32 does not keep, subtract an offset"
        raise DataError(text)


def with_test(parts: Mapping[str, Samples], targets: Targets, choices: Choices) -> dict[str, Samples]:
    """Return splits that include `train` and `test`: a missing test split is held out of the training split, or of the
    only one, by class; for a network that was trained on other data it is all samples.
    """
    if "test" in parts:
        _check_fraction_acts(choices)
        return {"train": parts["test"].subset(torch.arange(0)), **parts}
    whole = parts["train"] if "train" in parts else parts["all"]
    others = {name: part for name, part in parts.items() if name not in ("all", "train")}
    if choices.evaluation is not None and choices.evaluation.all_is_test:
        return {**others, "train": whole.subset(torch.arange(0)), "test": whole}
    drawing = Drawing(choices.split_by, TEST_SPLIT, choices.split_seed)
    train, test = drawing.hold_out(
        strata(whole.targets, targets, whole.keys), whole.identified, choices.fraction, whole.keys
    )
    if not 0 < len(test) < len(whole):
        if whole.keys is not None:
            raise DataError(f"{whole.keys.why_whole()}, so no test split can be held out")
        raise _leaves_no_test(choices, len(whole), len(test))
    return {**others, "train": whole.subset(train), "test": whole.subset(test)}


def _mean_and_std(train: Part, choices: Choices) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel: as set, or else of the training samples."""
    num_channels = train.samples.shape[1]
    mean, std = train.measures.mean_and_std()
    for name, given in (("mean", choices.mean), ("std", choices.std)):
        if given is not None and len(given) != num_channels:
            raise ConfigError(
                f"data.dataset.{name} has {counted(len(given), 'number')}, but the images have "
                f"{counted(num_channels, 'channel')}"
            )
    return tuple(choices.mean or mean), tuple(choices.std or std)


def with_shared(findings: Findings, parts: Mapping[str, Samples]) -> Findings:
    """Return findings with the number of samples in other splits that are also training samples, if any."""
    notes, details = [*findings.notes], [*findings.details]
    facts: dict[str, Any] = dict(findings.facts)
    for name in ("test", "valid"):
        if name not in parts:
            continue
        part = parts[name]
        shared = among(part.digested(), parts["train"].digested()).nonzero()[:, 0]
        facts[f"in_train_and_{name}"] = len(shared)
        if len(shared):
            effect = "the test scores are inflated" if name == "test" else "they favor weights that overfit"
            called = "validation" if name == "valid" else name
            notes.append(
                f"{len(shared):,} of {len(part):,} {called} samples are also in the training split, value for value: "
                f"{effect}; run.log names them"
            )
            samples = [part.names[index] if part.names else f"sample {index}" for index in shared.tolist()]
            details += [f"in train and {name}: {name}'s {sample}" for sample in samples]
    return Findings(tuple(notes), tuple(details), facts)


def fingerprint_of(splits: Mapping[str, Split], targets: Targets) -> str:
    """Return a hash of samples that have digests, of their splits and of their targets."""
    sha256 = hashlib.sha256(repr(targets.to_plain()).encode("utf-8", "surrogateescape"))
    for part, split in splits.items():
        sha256.update(repr((part, len(split))).encode())
        for column in (split.digested(), split.targets):
            sha256.update(column.contiguous().numpy().data)
    return sha256.hexdigest()


def _fingerprint(parts: Mapping[str, Part], targets: Targets, preprocessing: Preprocessing) -> str:
    """Return a hash that depends only on the samples, their splits and targets, not on where they are stored."""
    # With the first name of the class: so the same data keeps its fingerprint when a class moves.
    plain = {key: first_name(value) if key == "_target_" else value for key, value in preprocessing.to_plain().items()}
    # Fingerprints of classes have only their names, as before there were other kinds.
    learned = targets.names if targets.kind == "classes" else targets.to_plain()
    sha256 = hashlib.sha256(repr((learned, plain)).encode("utf-8", "surrogateescape"))
    for name, part in parts.items():
        sha256.update(repr((name, part.samples.shape, str(part.samples.dtype))).encode())
        for column in (part.measures.digests, part.targets):
            sha256.update(column.contiguous().numpy().data)
    return sha256.hexdigest()

"""Two runs on the same test samples: matched by their files of results, tested as pairs, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrun.base.errors import ArtifactError
from nnrun.base.sample_results import SampleResults
from nnrun.runs.samples import SAMPLES_NAME, read_samples
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.sample_words import prediction_text, target_text
from nnrun.tasks.comparison.statistics import Tested, mcnemar, paired_values


@dataclass(frozen=True)
class Differing:
    """A test sample on which two runs differ: what it is, and what each predicts, in words; `by` sorts them."""

    index: int
    name: str
    target: str
    first: str
    second: str
    better: str
    by: float


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs compared on the same test samples.

    `what` is the quantity that is compared, `test` the name of the test, `counts` its counts by their meaning.
    """

    first: Run
    second: Run
    what: str
    test: str
    num_samples: int
    tested: Tested
    counts: Mapping[str, int] = field(default_factory=dict)
    differing: Sequence[Differing] = ()
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class _Matched:
    """Two runs, A and B, and their results for the same samples in the same order."""

    first: Run
    second: Run
    ours: SampleResults
    theirs: SampleResults

    def differing(self, places: np.ndarray[Any, Any], is_first: Any, by: Any) -> list[Differing]:
        """Return the samples at some places in words; `is_first` says where A is better, `by` by how much."""
        ours, theirs = self.ours, self.theirs
        names = ours.paths or theirs.paths
        return [
            Differing(
                int(ours.indices[place]),
                names[place] if names is not None else f"test sample {int(ours.indices[place])}",
                target_text(ours, place),
                prediction_text(ours, place),
                prediction_text(theirs, place),
                "first" if is_first[place] else "second",
                float(by[place]),
            )
            for place in places.tolist()
        ]


def compare_pair(first: Run, second: Run) -> Pair | str:
    """Return the paired test of two runs, or the reason why there is none."""
    try:
        matched = _Matched(first, second, read_samples(first.path), read_samples(second.path))
        if reason := next(_why_unpaired(matched), None):
            return reason
        return _values(matched) if matched.ours.kind == "values" else _right(matched)
    except ArtifactError as error:
        return str(error)
    except (ValueError, IndexError, TypeError) as error:  # arrays that do not fit each other
        return f"their {SAMPLES_NAME} do not fit each other: {error}"


def _why_unpaired(matched: _Matched) -> Iterator[str]:
    """Yield the reasons why two runs cannot be compared sample by sample; none if they had the same samples."""
    ours, theirs = matched.ours, matched.theirs
    if ours.kind != theirs.kind or ours.names != theirs.names:
        yield "they learn different targets"
    if ours.num_samples != theirs.num_samples:
        yield f"they were tested on {ours.num_samples:,} and {theirs.num_samples:,} samples"
    for run, results in ((matched.first, ours), (matched.second, theirs)):
        if not results.is_whole:
            yield (
                f"{run.path} kept the results of {len(results.indices):,} of {results.num_samples:,} samples, those "
                "with the largest losses, which are no fair sample"
            )
    if not ours.num_samples:
        yield "there are no test samples"
    if ours.targets.shape != theirs.targets.shape or not np.array_equal(ours.targets, theirs.targets):
        yield "their test samples have different targets: they are not the same samples"
    if ours.paths is not None and theirs.paths is not None:
        if not _same_names(ours.paths, theirs.paths):
            yield "their test samples have different names"
    elif matched.first.yardstick.samples != matched.second.yardstick.samples:
        yield "their data differs in its settings, and the samples have no names: they may not be the same samples"


def _same_names(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Return whether names are equal, apart from the folder that all of a side are in: the data may have moved."""
    return tuple(ours) == tuple(theirs) or _without_common_folder(ours) == _without_common_folder(theirs)


def _without_common_folder(names: Sequence[str]) -> list[str]:
    """Return paths without the folders that all of them begin with."""
    split = [name.split("/") for name in names]
    depth = 0
    while all(len(parts) > depth + 1 and parts[depth] == split[0][depth] for parts in split):
        depth += 1
    return ["/".join(parts[depth:]) for parts in split]


def _right(matched: _Matched) -> Pair:
    """Compare which samples are right in each run."""
    ours, theirs = matched.ours, matched.theirs
    one, other = ours.are_right.astype(bool), theirs.are_right.astype(bool)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    gap = np.abs(_credit(ours) - _credit(theirs))
    places = np.flatnonzero(one != other)
    places = places[np.argsort(-gap[places], kind="stable")]
    is_accuracy = ours.kind == "classes"
    what = "the fraction of samples that are right" if is_accuracy else "the fraction with every label right"
    if is_accuracy and matched.first.headline == matched.second.headline == "accuracy":
        what = "test/accuracy"
    counts = {
        "right in both": int((one & other).sum()),
        "right only in A": only_first,
        "right only in B": only_second,
        "wrong in both": int((~one & ~other).sum()),
    }
    return Pair(
        matched.first,
        matched.second,
        what,
        "McNemar's exact test",
        len(one),
        mcnemar(only_first, only_second, len(one)),
        counts,
        matched.differing(places, one, gap),
        {**theirs.pictures, **ours.pictures},
        {**theirs.texts, **ours.texts},
    )


def _credit(results: SampleResults) -> np.ndarray[Any, Any]:
    """Return how much probability each prediction gives to the truth, `(N,)`."""
    predictions = results.predictions.astype(np.float32)
    if results.kind == "labels":
        return 1 - np.abs(predictions - results.targets).mean(1)
    targets = results.targets.astype(np.int64)
    if results.columns is not None:
        return np.where(results.columns == targets[:, None], predictions, 0).max(1)
    return predictions[np.arange(len(targets)), targets]


def _values(matched: _Matched) -> Pair:
    """Compare the squared errors of each sample, as shares of the variance of the targets: their mean is 1 - R2."""
    targets = matched.ours.targets.astype(np.float64).reshape(matched.ours.num_samples, -1)
    variance = targets.var(0)
    is_varied = bool((variance > 0).all())
    scale = variance if is_varied else np.ones_like(variance)
    one, other = (
        (np.square(side.predictions.reshape(targets.shape) - targets) / scale).mean(1)
        for side in (matched.ours, matched.theirs)
    )
    gains = other - one  # positive where A is closer
    if not np.isfinite(gains).all():
        raise ValueError("predictions are NaN or infinite")
    places = np.argsort(-np.abs(gains), kind="stable")
    places = places[gains[places] != 0]
    counts = {
        "A is closer": int((gains > 0).sum()),
        "B is closer": int((gains < 0).sum()),
        "equally close": int((gains == 0).sum()),
    }
    note = (
        "the interval is of the mean, by a paired bootstrap; the test asks which run is closer more often and by more, "
        "and is less moved by a few large errors"
    )
    return Pair(
        matched.first,
        matched.second,
        "test/r2" if is_varied else "the negative mean squared error",
        "Wilcoxon's signed-rank test",
        len(gains),
        paired_values(gains),
        counts,
        matched.differing(places, gains > 0, np.abs(gains)),
        texts={**matched.theirs.texts, **matched.ours.texts},
        notes=(note,),
    )

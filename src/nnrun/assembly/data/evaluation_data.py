"""The data that a trained network is measured on: none of it is what the network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nnrun.assembly.data.opened import Opened, in_memory, noted, open_data, take_parts
from nnrun.assembly.data.overlap import beside_its_start
from nnrun.assembly.data.seen import Seen, known_among, seen_by
from nnrun.assembly.data.source import load_dataset
from nnrun.assembly.job import Job
from nnrun.assembly.pretrained_input import normalised_as_trained
from nnrun.base.errors import ConfigError, DataError
from nnrun.base.paths import expanded
from nnrun.base.targets import Targets
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun
from nnrun.config.schema import DataSettings
from nnrun.core.seams.data import Evaluation, Split

# Settings that say what is held out; of the section data.dataset the second.
_HOLD_OUT, _HOLD_OUT_OF_SET = ("val_fraction", "split_seed", "split_by"), ("test_fraction",)
# Parameters of nnrun's own data sets that do not say which samples there are.
_NOT_THE_SOURCE = (
    *("split_seed", "split_by", "test_fraction", "mean", "std"),
    *("image_size", "channels", "on_bad", "in_shape", "download", "layout", "class_order", "white"),
    *("resize", "jpeg_draft"),
)
# Where less than that of what a training saw is in its data, the samples are others, or are read otherwise.
_MIN_SHARE = 0.5
_WAY_OUT = (
    "put samples to test into a test part (a folder test, or x_test and y_test), or name other data with data.root="
)


@dataclass(frozen=True)
class _Past:
    """What is known of the run that a network comes out of; of exported weights no more than their config."""

    path: Path
    data: Mapping[str, Any]
    targets: Targets
    fingerprint: str | None
    seen: dict[str, Seen] | None


def open_for(job: Job) -> Opened:
    """Open the data of a job: to train on, or to measure a network on what its training did not see.

    Raises DataError where that cannot be known, and ConfigError where the words would draw the hold-out anew.
    """
    past, settings = _past_of(job), job.data
    if past is None:
        data = open_data(settings, checks_batch=job.trains and not job.lowers_batch)
        is_typed = any(item.key == "data.val_fraction" and item.value for item in job.composed.typed)
        if job.trains and is_typed and not data.valid_is_drawn:
            raise ConfigError(
                f"data.val_fraction={settings.val_fraction:g} has no effect: the data has a validation part of its "
                "own; leave it out"
            )
        data = beside_its_start(job, data) if job.trains and job.resume is None else data
        return normalised_as_trained(job, data)
    if past.fingerprint is None:
        return _of_exported_weights(past, settings)
    if _is_same_source(past.data, settings):
        return _of_the_same_source(past, settings)
    return _of_another_source(past, settings)


def _past_of(job: Job) -> _Past | None:
    """Return what is known of the run that `ckpt=` names; None where there is none."""
    saved = job.composed.evaluated
    if not isinstance(saved, SavedNetwork):
        return None
    fingerprint, seen = (saved.data_fingerprint, seen_by(saved)) if isinstance(saved, SavedRun) else (None, None)
    return _Past(saved.path, saved.config["data"], saved.targets, fingerprint, seen)


def _is_same_source(saved: Mapping[str, Any], settings: DataSettings) -> bool:
    """Return whether the samples come from where those of the run came from."""
    ours, theirs = dict(settings.dataset), dict(saved.get("dataset", {}))
    for section in (ours, theirs):
        if str(section.get("_target_")).startswith("nnrun."):
            for key in _NOT_THE_SOURCE:
                section.pop(key, None)
        if isinstance(section.get("root"), str):
            section["root"] = expanded(section["root"]).resolve()
    return ours == theirs


def _of_the_same_source(past: _Past, settings: DataSettings) -> Opened:
    """Return the parts as the run drew them, without what it saw where the data is no longer as it was."""
    _check_hold_out(past.data, settings)
    data, fingerprint = _opened(past, settings, all_is_test=False)
    is_limited_anew = settings.limit != past.data.get("limit")
    if past.fingerprint == fingerprint:
        if is_limited_anew and settings.split_by == "position":
            return _without_valid(data, "another data.limit would draw it anew, from what the run was trained on")
        return data
    data = noted(data, f"the data is not as it was when {past.path} was trained: its fingerprint differs", other=True)
    if settings.split_by == "position":
        if data.test_is_drawn:
            raise DataError(
                f"the data is not as it was when {past.path} was trained (its fingerprint differs), and it has no test "
                "part of its own: which of its samples the network was trained on cannot be known, since the run held "
                f"out its test part by each sample's place; {_WAY_OUT}"
            )
        data = _without_valid(data, "it would be drawn anew, from what the run was trained on")
    if past.seen is not None and data.test_is_drawn and _share_there(past.seen, data) < _MIN_SHARE:
        raise DataError(
            f"the data is not as it was when {past.path} was trained: of the samples that it was trained on, "
            f"{_share_there(past.seen, data):.0%} are there; the others were replaced, or are decoded otherwise, and "
            f"which samples the network was trained on cannot be known; {_WAY_OUT}"
        )
    return _without_seen(past, data)


def _of_exported_weights(past: _Past, settings: DataSettings) -> Opened:
    """Return the parts as the run would draw them: the weights do not say which data they were trained on."""
    _check_hold_out(past.data, settings)
    data, _ = _opened(past, settings, all_is_test=False)
    if not data.test_is_drawn:
        return data
    text = f"{past.path} does not say which data it was trained on, and these have no test part: "
    if settings.split_by == "content":
        total = sum(map(len, data.parts.values()))
        return noted(
            data, f"{text}{len(data.test):,} of {total:,} samples are test, which its run would not have trained on"
        )
    return noted(
        data,
        f"{text}they are split by each sample's place, and unless they are as they were then, some test samples may be "
        "among those it was trained on",
    )


def _of_another_source(past: _Past, settings: DataSettings) -> Opened:
    """Return data that is not the run's: all of it is test, where it has no test part; if it has moved, its parts."""
    as_it_was: Opened | None = None
    try:
        as_it_was, fingerprint = _opened(past, settings, all_is_test=False)
        if fingerprint == past.fingerprint:
            return _moved(as_it_was)
    except DataError:
        pass  # there may be too few samples for a hold-out: enough to be measured
    if as_it_was is not None and not as_it_was.test_is_drawn:
        data = as_it_was
    else:
        data, _ = _opened(past, settings, all_is_test=True)
        data = noted(data, f"the data has no test part, and is not the run's: all {data.num_test:,} samples are test")
    if past.seen is None:
        unknown = "whether the network was trained on some of the test samples is not known"
        return noted(data, f"{unknown}: an earlier version wrote {past.path}", other=True)
    is_seen_in_part = any(
        not seen.is_complete and bool(seen.among(data.test.identified()).any()) for seen in past.seen.values()
    )
    if is_seen_in_part and as_it_was is not None and as_it_was.test_is_drawn and settings.split_by == "content":
        data = noted(
            as_it_was,
            "the data holds samples that the network was trained on: only what the run's rule holds out of it is test, "
            f"{as_it_was.num_test:,} samples",
        )
    return _without_seen(past, noted(data, f"the data is not that of {past.path}", other=True))


def _moved(data: Opened) -> Opened:
    """Return the run's own data, found at another place, with what is said of a test part that was drawn from it."""
    if not data.test_is_drawn:
        return data
    total = sum(map(len, data.parts.values()))
    return noted(
        data,
        f"these are the samples of the run, at another place: {len(data.test):,} of {total:,} are test; the other "
        f"{total - len(data.test):,} are not measured as test: the network was trained on them, or chosen by them",
    )


def _opened(past: _Past, settings: DataSettings, *, all_is_test: bool) -> tuple[Opened, str]:
    """Return data to measure a network, and their fingerprint, as the run, with its own limit, would have it."""
    dataset = load_dataset(settings, Evaluation(past.targets, all_is_test))
    data = take_parts(dataset, settings, checks_batch=False, evaluates=True)
    as_run = data
    if settings.limit != past.data.get("limit"):
        limit_of_run = replace(settings, limit=past.data.get("limit"))
        as_run = take_parts(dataset, limit_of_run, checks_batch=False, evaluates=True)
    return in_memory(data, settings), as_run.fingerprint


def _check_hold_out(saved: Mapping[str, Any], settings: DataSettings) -> None:
    """Raise ConfigError where the words would draw the test or the validation part anew."""
    pairs: list[tuple[str, Any, Any]] = [
        (f"data.{key}", getattr(settings, key), saved.get(key, getattr(settings, key))) for key in _HOLD_OUT
    ]
    section, before = settings.dataset, saved.get("dataset", {})
    pairs += [(f"data.dataset.{key}", section.get(key), before.get(key)) for key in _HOLD_OUT_OF_SET]
    changed = [
        f"{key}={value} would test or validate on what the network was trained on: its run held samples out with {key}="
        f"{'null' if before is None else before}; leave it out"
        for key, value, before in pairs
        if value != before
    ]
    if changed:
        raise ConfigError(*changed)


def _share_there(seen: Mapping[str, Seen], data: Opened) -> float:
    """Return how much of what a training saw is in some data, as a fraction."""
    return seen["train"].share_in(torch.cat([split.identified() for split in data.parts.values()]))


def _without_seen(past: _Past, data: Opened) -> Opened:
    """Return data without the test samples that a training saw, and the validation samples that it was trained on.

    Raises DataError where no others are left, or where only some of very many can be told.
    """
    if past.seen is None:
        return data
    data = _part_without(past, data, "test", list(past.seen.values()))
    return _part_without(past, data, "valid", [past.seen["train"]]) if data.valid is not None else data


def _part_without(past: _Past, data: Opened, name: str, seen: list[Seen]) -> Opened:
    """Return data with a part of it without the samples that were seen."""
    split: Split = data.parts[name]
    known = known_among(split, seen)
    count = int(known.sum())
    if count == 0:
        return data
    if count == len(split) or not all(part.is_complete for part in seen):
        some = "all" if count == len(split) else f"at least {count:,}"
        raise DataError(
            f"{some} of {len(split):,} {name} samples are among those that {past.path} was trained on; {_WAY_OUT}"
        )
    kept = split.subset((~known).nonzero()[:, 0])
    data = replace(data, test=kept) if name == "test" else replace(data, valid=kept)
    text = f"left out of the {name} part: {count:,} of {len(split):,} samples, which the network was trained on"
    return noted(data, text, left_out={name: count})


def _without_valid(data: Opened, why: str) -> Opened:
    """Return data whose validation part, if it was drawn from the samples to train on, is not measured."""
    if data.valid is None or not data.valid_is_drawn:
        return data
    return noted(replace(data, valid=None), f"the validation part is not measured: {why}")

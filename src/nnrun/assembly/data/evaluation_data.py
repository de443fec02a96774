"""The data to evaluate a trained network on: samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nnrun.assembly.data.checks import OtherThanClaimed
from nnrun.assembly.data.opened import Opened, in_memory, noted, take_parts
from nnrun.assembly.data.overlap import beside_its_start
from nnrun.assembly.data.seen import Seen, known_among, seen_by
from nnrun.assembly.data.shared import open_to_train
from nnrun.assembly.data.source import load_dataset
from nnrun.assembly.job import Job
from nnrun.assembly.pretrained_input import normalised_as_trained
from nnrun.base.errors import ConfigError, DataError
from nnrun.base.paths import expanded
from nnrun.base.targets import Targets
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun
from nnrun.config.schema import DataSettings
from nnrun.core.seams.data import Evaluation, Split

# Settings that define the hold-outs: of `data`, and of `data.dataset`.
_HOLD_OUT = ("val_fraction", "num_folds", "fold", "split_seed", "split_by", "group", "time")
_HOLD_OUT_OF_SET = ("test_fraction",)
# Parameters of nnrun's own data sets that do not change which samples the data has.
_NOT_THE_SOURCE = (
    *("split_seed", "split_by", "group", "time", "test_fraction", "mean", "std"),
    *("image_size", "channels", "on_bad", "in_shape", "download", "layout", "class_order", "white"),
    *("resize", "jpeg_draft", "tokenizer", "max_length", "preprocessing"),
)
# If the data has a smaller fraction of the samples seen in training, they were replaced or are decoded differently.
_MIN_SHARE = 0.5
_WAY_OUT = (
    "put test samples into a test split (a folder test, or x_test and y_test), or name other data with data.root="
)


@dataclass(frozen=True)
class _Past:
    """What is known of the run that trained a network; for exported weights only their config."""

    path: Path
    data: Mapping[str, Any]
    targets: Targets
    fingerprint: str | None
    seen: dict[str, Seen] | None
    preprocessing: Mapping[str, Any] | None = None


def open_for(job: Job) -> Opened:
    """Open the data of a job: to train on, or to evaluate a network on samples that its training did not see.

    Raises DataError where those cannot be told apart, and ConfigError where the settings would redraw the hold-out.
    """
    past, settings = _past_of(job), job.data
    if past is None:
        data = _opened_to_train(job)
        is_typed = any(item.key == "data.val_fraction" and item.value for item in job.composed.typed)
        if job.trains and is_typed and not data.valid_is_drawn:
            raise ConfigError(
                f"data.val_fraction={settings.val_fraction:g} has no effect: the data has its own validation split; "
                "remove it"
            )
        if job.trains and settings.num_folds is not None and not data.valid_is_drawn:
            raise ConfigError(
                f"data.num_folds={settings.num_folds} has no effect: the data has its own validation split; remove it"
            )
        nothing_is_drawn = not data.test_is_drawn and (data.valid is None or not data.valid_is_drawn)
        if job.trains and settings.time is not None and nothing_is_drawn:
            raise ConfigError(
                f"data.time={settings.time} has no effect: the data has its own test split, and no validation split is "
                "held out; remove it"
            )
        data = beside_its_start(job, data) if job.trains and job.resume is None else data
        return normalised_as_trained(job, data)
    if past.fingerprint is None:
        return _of_exported_weights(past, settings)
    if _is_same_source(past.data, settings):
        return _of_the_same_source(past, settings)
    return _of_another_source(past, settings)


def _opened_to_train(job: Job) -> Opened:
    """Return the data to train on; raise DataError where it cannot be that of the run that is resumed."""
    checks_batch, resumed = job.trains and not job.lowers_batch, job.composed.resumed
    try:
        return open_to_train(job.data, checks_batch=checks_batch, learned=_learned_before(job))
    except OtherThanClaimed as error:
        if resumed is None:
            raise
        raise DataError(
            f"the data is not the same as when {resumed.run} was interrupted: {error}; set data.root= to that data"
        ) from error


def _learned_before(job: Job) -> Mapping[str, Any] | None:
    """Return the preprocessing of the weights that a training goes on from, for data that is prepared by it."""
    saved = job.composed.resumed or job.composed.start or job.pretrained
    return saved.preprocessing if isinstance(saved, SavedNetwork) else None


def _past_of(job: Job) -> _Past | None:
    """Return what is known of the run that `ckpt=` names; None if there is none."""
    saved = job.composed.evaluated
    if not isinstance(saved, SavedNetwork):
        return None
    fingerprint, seen = (saved.data_fingerprint, seen_by(saved)) if isinstance(saved, SavedRun) else (None, None)
    return _Past(saved.path, saved.config["data"], saved.targets, fingerprint, seen, saved.preprocessing)


def _is_same_source(saved: Mapping[str, Any], settings: DataSettings) -> bool:
    """Return whether the samples come from the same source as those of the run."""
    ours, theirs = dict(settings.dataset), dict(saved.get("dataset", {}))
    for section in (ours, theirs):
        if str(section.get("_target_")).startswith("nnrun."):
            for key in _NOT_THE_SOURCE:
                section.pop(key, None)
        if isinstance(section.get("root"), str):
            section["root"] = expanded(section["root"]).resolve()
    return ours == theirs


def _of_the_same_source(past: _Past, settings: DataSettings) -> Opened:
    """Return the splits as the run drew them; if the data has changed since, without the samples that it saw."""
    _check_hold_out(past.data, settings)
    data, fingerprint = _opened(past, settings, all_is_test=False)
    is_limited_anew = settings.limit != past.data.get("limit")
    if past.fingerprint == fingerprint:
        if is_limited_anew and _moves(settings):
            return _without_valid(data, "a different data.limit redraws it from the samples the run was trained on")
        return data
    data = noted(data, f"the data has changed since {past.path} was trained: its fingerprint differs", other=True)
    if settings.split_by == "position" and data.test_is_drawn:
        raise DataError(
            f"the data has changed since {past.path} was trained (its fingerprint differs), and it has no test "
            "split of its own; the run held out its test split by position, so the samples that the network was "
            f"trained on are unknown; {_WAY_OUT}"
        )
    if _moves(settings):
        data = _without_valid(data, "it would be redrawn from the samples the run was trained on")
    if past.seen is not None and data.test_is_drawn and _share_there(past.seen, data) < _MIN_SHARE:
        if why := data.findings.facts.get("unrecognizable"):
            raise DataError(
                f"the data has changed since {past.path} was trained: {why}; add what it lacks, or {_WAY_OUT}"
            )
        raise DataError(
            f"the data has changed since {past.path} was trained: it has {_share_there(past.seen, data):.0%} of the "
            "samples that the network was trained on; the others were replaced or are decoded differently, so the "
            f"samples that the network was trained on are unknown; {_WAY_OUT}"
        )
    return _without_seen(past, data)


def _moves(settings: DataSettings) -> bool:
    """Return whether a sample may change its split when others are added: not by content."""
    return settings.split_by == "position" or settings.time is not None


def _of_exported_weights(past: _Past, settings: DataSettings) -> Opened:
    """Return the splits as the run would draw them: the weights do not say which data they were trained on."""
    _check_hold_out(past.data, settings)
    data, _ = _opened(past, settings, all_is_test=False)
    if not data.test_is_drawn:
        return data
    text = f"{past.path} does not say which data it was trained on, and this data has no test split: "
    if not _moves(settings):
        total = sum(map(len, data.parts.values()))
        return noted(
            data, f"{text}tested on the {len(data.test):,} of {total:,} samples that its run would have held out"
        )
    return noted(
        data,
        f"{text}it is split by {'position' if settings.time is None else settings.time}, so if the data has changed "
        "since the training, some test samples may be among those it was trained on",
    )


def _of_another_source(past: _Past, settings: DataSettings) -> Opened:
    """Return the splits of data that is not the run's; without a test split, all of it is test.

    If it is the run's data at another place, the run's splits.
    """
    as_it_was: Opened | None = None
    try:
        as_it_was, fingerprint = _opened(past, settings, all_is_test=False)
        if fingerprint == past.fingerprint:
            return _moved(as_it_was)
    except DataError:
        pass  # too few samples for a hold-out can still be evaluated
    if as_it_was is not None and not as_it_was.test_is_drawn:
        data = as_it_was
    else:
        data, _ = _opened(past, settings, all_is_test=True)
        data = noted(data, f"this data has no test split and is not the run's: all {data.num_test:,} samples are test")
    if past.seen is None:
        unknown = "it is unknown whether the network was trained on some of the test samples"
        return noted(data, f"{unknown}: {past.path} was written by an earlier version", other=True)
    is_seen_in_part = any(
        not seen.is_complete and bool(seen.among(data.test.identified()).any()) for seen in past.seen.values()
    )
    if is_seen_in_part and as_it_was is not None and as_it_was.test_is_drawn and not _moves(settings):
        data = noted(
            as_it_was,
            "the data includes samples that the network was trained on: only the samples that the run's split holds "
            f"out are test: {as_it_was.num_test:,} samples",
        )
    return _without_seen(past, noted(data, f"the data is not that of {past.path}", other=True))


def _moved(data: Opened) -> Opened:
    """Return the run's own data, found at another place, with a note on a test split that was drawn from it."""
    if not data.test_is_drawn:
        return data
    total = sum(map(len, data.parts.values()))
    return noted(
        data,
        f"this is the run's data at another place: {len(data.test):,} of {total:,} samples are test; the other "
        f"{total - len(data.test):,} were used for training or validation",
    )


def _opened(past: _Past, settings: DataSettings, *, all_is_test: bool) -> tuple[Opened, str]:
    """Return data to evaluate a network, and the fingerprint that it would have with the run's data.limit."""
    dataset = load_dataset(settings, Evaluation(past.targets, all_is_test, past.preprocessing))
    data = take_parts(dataset, settings, checks_batch=False, evaluates=True)
    as_run = data
    if settings.limit != past.data.get("limit"):
        limit_of_run = replace(settings, limit=past.data.get("limit"))
        as_run = take_parts(dataset, limit_of_run, checks_batch=False, evaluates=True)
    return in_memory(data, settings), as_run.fingerprint


def _check_hold_out(saved: Mapping[str, Any], settings: DataSettings) -> None:
    """Raise ConfigError where the settings would redraw the test or the validation split."""
    pairs: list[tuple[str, Any, Any]] = [
        (f"data.{key}", getattr(settings, key), saved.get(key, getattr(settings, key))) for key in _HOLD_OUT
    ]
    section, before = settings.dataset, saved.get("dataset", {})
    pairs += [(f"data.dataset.{key}", section.get(key), before.get(key)) for key in _HOLD_OUT_OF_SET]
    changed = [
        f"{key}={value} would test or validate on samples that the network was trained on: its run used {key}="
        f"{'null' if before is None else before}; remove it"
        for key, value, before in pairs
        if value != before
    ]
    if changed:
        raise ConfigError(*changed)


def _share_there(seen: Mapping[str, Seen], data: Opened) -> float:
    """Return the fraction of the training samples that a run saw which the data still has."""
    return seen["train"].share_in(torch.cat([split.identified() for split in data.parts.values()]))


def _without_seen(past: _Past, data: Opened) -> Opened:
    """Return data without the test samples that the run saw, and the validation samples that it was trained on.

    Raises DataError where none are left, or where the checkpoint lists only some of the samples that the run saw.
    """
    if past.seen is None:
        return data
    data = _part_without(past, data, "test", list(past.seen.values()))
    return _part_without(past, data, "valid", [past.seen["train"]]) if data.valid is not None else data


def _part_without(past: _Past, data: Opened, name: str, seen: list[Seen]) -> Opened:
    """Return data in which one split is without the samples that were seen."""
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
    groups = " or on others of their groups" if any(part.groups is not None for part in seen) else ""
    text = f"skipped {count:,} of {len(split):,} {name} samples: the network was trained on them{groups}"
    return noted(data, text, left_out={name: count})


def _without_valid(data: Opened, why: str) -> Opened:
    """Return data without its validation split, if that was drawn from the training samples."""
    if data.valid is None or not data.valid_is_drawn:
        return data
    return noted(replace(data, valid=None), f"the validation split is not evaluated: {why}")

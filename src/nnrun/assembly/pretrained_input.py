"""The input that pretrained weights expect: the image size and the normalization of their training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nnrun.assembly.data.opened import Opened, noted
from nnrun.assembly.data.scales import PIXELS
from nnrun.assembly.instantiate import build, said_by_class
from nnrun.assembly.job import Job
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.config.composed import Composed
from nnrun.core.seams.data import Preprocessing


def trained_input(model: Mapping[str, Any], weights: str | None, pretrained: SavedWeights | None) -> TrainedOn | None:
    """Return the input that the weights of `transfer.weights` were trained on; None if unknown.

    It is known for nnrun's runs and for published weights. A file with the published weights' number of scores is
    assumed to be one of these.
    """
    of_published = said_by_class(model, "trained_on")
    if weights is None or of_published is None:
        return None
    if isinstance(pretrained, SavedNetwork):
        return _of_a_run(pretrained)
    found: TrainedOn | None = of_published(model, pretrained.path.name if pretrained else None)
    shapes = [item.shape for item in pretrained.weights.values()] if pretrained else None
    if found is None or (shapes is not None and (found.num_scores,) not in shapes):
        return None
    return found


def _of_a_run(saved: SavedNetwork) -> TrainedOn | None:
    """Return the input of an nnrun run, if it was trained on pixels."""
    plain, shape = saved.preprocessing, saved.config["data"].get("in_shape")
    if plain.get("_target_") != PIXELS or not isinstance(shape, list) or len(shape) != len("CHW"):
        return None
    mean, std = tuple(plain["mean"]), tuple(plain["std"])
    return TrainedOn(str(saved.path), (shape[1], shape[2]), mean, std, saved.targets.num_outputs)


def sized_as_trained(composed: Composed, trained: TrainedOn | None) -> Composed:
    """Return the config with the image size that the weights were trained on, unless data.image_size is set."""
    if trained is None or not composed.is_default("data.image_size"):
        return composed
    if "image_size" not in composed.config.data.dataset:
        return composed
    height, width = trained.size
    return composed.with_data(image_size=height if height == width else [height, width])


def normalised_as_trained(job: Job, data: Opened) -> Opened:
    """Return data normalized as the weights expect, unless mean or std are set, with a note that says so.

    A resumed run keeps its normalization.
    """
    resumed, section = job.composed.resumed, job.settings.data.dataset
    if data.preprocessing.to_plain().get("_target_") != PIXELS or job.settings.transfer.weights is None:
        return data
    if resumed is not None:
        kept = resumed.preprocessing
        return replace(data, preprocessing=_built(kept)) if kept.get("_target_") == PIXELS else data
    if job.trained_on is None or any(section.get(name) is not None for name in ("mean", "std")):
        return data
    channels = len(data.preprocessing.to_plain()["mean"])
    mean, std = (fitted(numbers, channels) for numbers in (job.trained_on.mean, job.trained_on.std))
    if mean is None or std is None:
        return data
    plain = {"_target_": PIXELS, "mean": mean, "std": std}
    shown = " and std ".join(str([round(number, 4) for number in numbers]) for numbers in (mean, std))
    size = "x".join(map(str, data.in_shape[1:]))
    hints = [f"data.dataset.{name}=" for name in ("mean", "std") if name in section]
    hints += ["data.image_size="] if "image_size" in section else []
    others = f"; to change this, set {', '.join(hints)}" if hints else ""
    note = f"images of {size}, normalized with mean {shown}, as in the training of {job.trained_on.weights}{others}"
    return noted(replace(data, preprocessing=_built(plain)), note)


def fitted(numbers: tuple[float, ...], channels: int) -> list[float] | None:
    """Return a number for each channel; for gray images the mean over the colors. None if neither applies."""
    if len(numbers) == channels:
        return list(numbers)
    if channels == 1:
        return [sum(numbers) / len(numbers)]
    return list(numbers) * channels if len(numbers) == 1 else None


def _built(plain: Mapping[str, Any]) -> Preprocessing:
    """Build one of nnrun's preprocessings."""
    return build(plain, "preprocessing", Preprocessing)  # type: ignore[type-abstract]

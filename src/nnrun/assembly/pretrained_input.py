"""What pretrained weights expect: the size of the images and their normalisation, as the weights were trained."""

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
    """Return what the weights that `transfer.weights` names were trained on; None where that is not known.

    A run of nnrun's says it, and so does who publishes weights. A file of as many scores as the published weights give
    is taken for these.
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
    """Return what a run of nnrun's was trained on, if that was pixels."""
    plain, shape = saved.preprocessing, saved.config["data"].get("in_shape")
    if plain.get("_target_") != PIXELS or not isinstance(shape, list) or len(shape) != len("CHW"):
        return None
    mean, std = tuple(plain["mean"]), tuple(plain["std"])
    return TrainedOn(str(saved.path), (shape[1], shape[2]), mean, std, saved.targets.num_outputs)


def sized_as_trained(composed: Composed, trained: TrainedOn | None) -> Composed:
    """Return the config with images of the size that the weights were trained on, where nobody has set another one."""
    if trained is None or not composed.is_default("data.image_size"):
        return composed
    if "image_size" not in composed.config.data.dataset:
        return composed
    height, width = trained.size
    return composed.with_data(image_size=height if height == width else [height, width])


def normalised_as_trained(job: Job, data: Opened) -> Opened:
    """Return data whose pixels are normalised as the weights expect, unless mean or deviation are set; and say so.

    A run that is resumed goes on as it began.
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
    others = f"; {', '.join(hints)} set others" if hints else ""
    note = f"images of {size}, normalized with mean {shown}, as in the training of {job.trained_on.weights}{others}"
    return noted(replace(data, preprocessing=_built(plain)), note)


def fitted(numbers: tuple[float, ...], channels: int) -> list[float] | None:
    """Return a number for each channel; for grey images the mean of the colors'. None where there is no such rule."""
    if len(numbers) == channels:
        return list(numbers)
    if channels == 1:
        return [sum(numbers) / len(numbers)]
    return list(numbers) * channels if len(numbers) == 1 else None


def _built(plain: Mapping[str, Any]) -> Preprocessing:
    """Return a preprocessing of ours."""
    return build(plain, "preprocessing", Preprocessing)  # type: ignore[type-abstract]

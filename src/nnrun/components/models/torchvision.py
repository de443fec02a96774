"""Any classification network of torchvision, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models

from nnrun.base.errors import ResourceError
from nnrun.base.targets import Targets
from nnrun.checkpoints.manifest import open_verified
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.components.models.adapting import adapt_channels, check_fits, check_image_shape, check_name, unsuited

# Networks with auxiliary outputs in training mode. They are built without, so that both modes return the same.
_WITH_AUXILIARY = ("googlenet", "inception_v3")


# torchvision/models/densenet.py: denselayer1.norm.1.weight was renamed denselayer1.norm1.weight.
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class Published(NamedTuple):
    """Weights that a library publishes for a network, and their file.

    `targets` are the classes of its head, if known; `fresh` are the names of the network's weights that the file lacks.
    """

    weights: dict[str, Tensor]
    path: Path
    targets: Targets | None = None
    fresh: tuple[str, ...] = ()


class Torchvision(nn.Module):
    """Build a network of torchvision with a head for `num_classes` and a first convolution for the images' channels.

    The result is torchvision's own class, not a wrapper, so that its state dict has torchvision's names. Raises
    ConfigError if torchvision has no network of this name, or if the network cannot take the images.
    """

    def __new__(cls, name: str, in_shape: Sequence[int], num_classes: int) -> nn.Module:  # type: ignore[misc]
        check_name(name, _names(), "torchvision")
        check_image_shape(in_shape, name)
        more: dict[str, Any] = {}
        if name in _WITH_AUXILIARY:
            more = {"aux_logits": False, "init_weights": True}
        elif name.startswith("vit_"):
            more = {"image_size": max(in_shape[1:])}
        elif name == "maxvit_t":
            more = {"input_size": tuple(in_shape[1:])}
        # Random weights: building a network that a checkpoint names must not download anything.
        try:
            network = models.get_model(name, weights=None, num_classes=num_classes, **more)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise unsuited(in_shape, name, error) from error
        adapt_channels(network, in_shape[0])
        check_fits(network, in_shape, name)
        return network

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ConfigError for wrong parameters that can be detected before the data is opened."""
        check_name(parameters["name"], _names(), "torchvision")

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the newest weights that torchvision publishes for the network; downloaded if they are not cached."""
        return published(models.get_model_weights(parameters["name"]).DEFAULT)  # type: ignore[attr-defined]

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn:
        """Return the input that published weights were trained on: those in a file of that name, or else the newest."""
        entries = models.get_model_weights(parameters["name"])
        default: models.WeightsEnum = entries.DEFAULT  # type: ignore[attr-defined]
        entry = next((entry for entry in entries if entry.url.rpartition("/")[2] == file), default)
        transforms = entry.transforms()
        side = transforms.crop_size[0]
        categories = entry.meta["categories"]
        name = f"torchvision's {entry}"
        return TrainedOn(name, (side, side), tuple(transforms.mean), tuple(transforms.std), len(categories))


def _names() -> list[str]:
    """Return the names of torchvision's classification networks, without its networks for other tasks."""
    return models.list_models(module=models)


def published(entry: models.WeightsEnum) -> Published:
    """Return weights that torchvision publishes, from its cache (TORCH_HOME), downloading them if necessary.

    Raises ArtifactError if the cached file is not the published one, ResourceError if the download fails.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    if path.is_file():
        open_verified(path).close()
    try:
        weights = entry.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ResourceError(
            f"transfer.weights=default: cannot download {entry.url} ({type(error).__name__}: {error}); "
            f"put that file at {path}, or set transfer.weights=PATH"
        ) from error
    return Published({_as_now(name): tensor for name, tensor in weights.items()}, path)


def _as_now(name: str) -> str:
    """Return the current name of a weight: DenseNet's published files have the names of an older class."""
    return _OLD_NAME.sub(r"\1\2", name)

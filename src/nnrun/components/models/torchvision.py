"""Every classification network of torchvision's, by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models

from nnrun.base.errors import ResourceError
from nnrun.checkpoints.manifest import open_verified
from nnrun.components.models.adapting import (
    TrainedOn,
    adapt_channels,
    check_fits,
    check_image_shape,
    check_name,
    unsuited,
)

# Networks with scores besides the last ones while they train: built without, so that they are the same in both modes.
_WITH_AUXILIARY = ("googlenet", "inception_v3")


# torchvision/models/densenet.py: denselayer1.norm.1.weight was renamed denselayer1.norm1.weight.
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class Published(NamedTuple):
    """The weights that somebody published for a network, and the file that they are in."""

    weights: dict[str, Tensor]
    path: Path


class Torchvision(nn.Module):
    """Make a network of torchvision's with a head for `num_classes` and a first convolution for the images' channels.

    What is made is torchvision's own class, not a module around it, so that the names in its state dict are
    torchvision's. Raises ConfigError where the name is none of them, or the images do not suit the network.
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
        # Drawn anew, never fetched: whatever a checkpoint names, building it stays on this machine.
        try:
            network = models.get_model(name, weights=None, num_classes=num_classes, **more)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise unsuited(in_shape, name, error) from error
        adapt_channels(network, in_shape[0])
        check_fits(network, in_shape, name)
        return network

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ConfigError where the parameters are wrong in a way that shows before the data is opened."""
        check_name(parameters["name"], _names(), "torchvision")

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the newest weights that torchvision publishes for the network, fetched unless they are here."""
        return published(models.get_model_weights(parameters["name"]).DEFAULT)  # type: ignore[attr-defined]

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn:
        """Return what published weights were trained on: those in a file of that name, or else the newest."""
        entries = models.get_model_weights(parameters["name"])
        default: models.WeightsEnum = entries.DEFAULT  # type: ignore[attr-defined]
        entry = next((entry for entry in entries if entry.url.rpartition("/")[2] == file), default)
        said = entry.transforms()
        side = said.crop_size[0]
        categories = entry.meta["categories"]
        name = f"torchvision's {entry}"
        return TrainedOn(name, (side, side), tuple(said.mean), tuple(said.std), len(categories))


def _names() -> list[str]:
    """Return the names of torchvision's classification networks: those in its registry that are no other task's."""
    return models.list_models(module=models)


def published(entry: models.WeightsEnum) -> Published:
    """Return weights that torchvision publishes, from its cache (TORCH_HOME) or fetched into it.

    Raises ArtifactError where the file in the cache is not the published one, ResourceError where there is none and
    none can be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    if path.is_file():
        open_verified(path).close()
    try:
        weights = entry.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ResourceError(
            f"transfer.weights=default needs {entry.url}, which cannot be fetched ({type(error).__name__}: {error}); "
            f"put that file at {path}, or name one with transfer.weights=PATH"
        ) from error
    return Published({_as_now(name): tensor for name, tensor in weights.items()}, path)


def _as_now(name: str) -> str:
    """Return the name of a weight as networks have it now: DenseNet's files are older than its class."""
    return _OLD_NAME.sub(r"\1\2", name)

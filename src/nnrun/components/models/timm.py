"""Any network of timm, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import timm.data
from torch import nn

from nnrun.base.errors import ResourceError
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.components.models.adapting import check_fits, check_image_shape, check_name, unsuited
from nnrun.components.models.torchvision import Published


class Timm(nn.Module):
    """Build a network of timm with a head for `num_classes` and a first layer for the images' channels.

    The result is timm's own class, not a wrapper, so that its state dict has timm's names. Raises ConfigError if timm
    has no network of this name, or if the network cannot take the images.
    """

    def __new__(cls, name: str, in_shape: Sequence[int], num_classes: int) -> nn.Module:  # type: ignore[misc]
        _check_name(name)
        check_image_shape(in_shape, name)
        # Random weights: building a network that a checkpoint names must not download anything.
        try:
            network = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_shape[0])
        except (AssertionError, ValueError, RuntimeError) as error:
            raise unsuited(in_shape, name, error) from error
        check_fits(network, in_shape, name)
        return network

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ConfigError for wrong parameters that can be detected before the data is opened."""
        _check_name(parameters["name"])

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights that timm publishes for the network; they are downloaded if they are not cached."""
        name = parameters["name"]
        try:
            network = timm.create_model(name, pretrained=True)
        except Exception as error:
            raise ResourceError(
                f"transfer.weights=default: cannot download timm's weights for {name} ({type(error).__name__}: "
                f"{str(error).splitlines()[0]}); set transfer.weights=PATH to a file of these weights"
            ) from error
        return Published(network.state_dict(), Path(f"timm's weights for {name}"))

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn | None:
        """Return the input that timm's weights were trained on, from their config; None if there are no weights."""
        config = timm.get_pretrained_cfg(parameters["name"])
        if config is None or not config.has_weights:
            return None
        data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
        _, height, width = data["input_size"]
        name = f"timm's {config.architecture}.{config.tag}".removesuffix(".")
        return TrainedOn(name, (height, width), tuple(data["mean"]), tuple(data["std"]), config.num_classes)


def _check_name(name: str) -> None:
    """Raise ConfigError unless timm has a network of this name, with or without a tag (`resnet18.a1_in1k`).

    timm itself also accepts `hf-hub:...` and `local-dir:...`, and would download or open them.
    """
    check_name(name, {*timm.list_models(), *timm.list_pretrained()}, "timm")

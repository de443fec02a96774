"""Every network of timm's, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import timm.data
from torch import nn

from nnrun.base.errors import ResourceError
from nnrun.components.models.adapting import TrainedOn, check_fits, check_image_shape, check_name, unsuited
from nnrun.components.models.torchvision import Published


class Timm(nn.Module):
    """Make a network of timm's with a head for `num_classes` and a first layer for the images' channels.

    What is made is timm's own class, not a module around it, so that the names in its state dict are timm's. Raises
    ConfigError where the name is none of them, or the images do not suit the network.
    """

    def __new__(cls, name: str, in_shape: Sequence[int], num_classes: int) -> nn.Module:  # type: ignore[misc]
        _check_name(name)
        check_image_shape(in_shape, name)
        # Drawn anew, never fetched: whatever a checkpoint names, building it stays on this machine.
        try:
            network = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_shape[0])
        except (AssertionError, ValueError, RuntimeError) as error:
            raise unsuited(in_shape, name, error) from error
        check_fits(network, in_shape, name)
        return network

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ConfigError where the parameters are wrong in a way that shows before the data is opened."""
        _check_name(parameters["name"])

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights that timm publishes for the network, fetched unless they are here."""
        name = parameters["name"]
        try:
            network = timm.create_model(name, pretrained=True)
        except Exception as error:
            raise ResourceError(
                f"transfer.weights=default: timm's weights for {name} cannot be fetched ({type(error).__name__}: "
                f"{str(error).splitlines()[0]}); name a file of them with transfer.weights=PATH"
            ) from error
        return Published(network.state_dict(), Path(f"timm's weights for {name}"))

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn | None:
        """Return what timm's weights for the network were trained on, as their config says; None where it has none."""
        config = timm.get_pretrained_cfg(parameters["name"])
        if config is None or not config.has_weights:
            return None
        said = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
        _, height, width = said["input_size"]
        name = f"timm's {config.architecture}.{config.tag}".removesuffix(".")
        return TrainedOn(name, (height, width), tuple(said["mean"]), tuple(said["std"]), config.num_classes)


def _check_name(name: str) -> None:
    """Raise ConfigError unless timm has a network of this name; one with a tag, `resnet18.a1_in1k`, has two parts.

    timm takes `hf-hub:...` and `local-dir:...` for a name too, and would fetch or open what it says.
    """
    check_name(name, {*timm.list_models(), *timm.list_pretrained()}, "timm")

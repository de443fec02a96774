"""Code that networks share: adapt them to the images of a data set, and explain why one cannot be adapted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from nnrun.base.errors import Complaint, ConfigError, did_you_mean

# Advice for images that are too small; data.image_size has no effect on arrays and on built-in data sets.
_LARGER = "use a larger data.image_size (data=folder, data=torchvision, your own data)"


def check_one_tensor(in_shape: Any, network: str) -> None:
    """Raise ConfigError unless a sample is a single tensor."""
    if isinstance(in_shape, Mapping) or not all(isinstance(size, int) for size in in_shape):
        allowed = f"a single shape ({network} takes one tensor per sample)"
        others = "for a table use model=tabular, tabm, mlp or linear; else write a custom network for several tensors"
        raise ConfigError.of("data.in_shape", in_shape, allowed, others)


def check_image_shape(in_shape: Sequence[int], network: str) -> None:
    """Raise ConfigError unless samples are images."""
    check_one_tensor(in_shape, network)
    if len(in_shape) != 3:
        allowed = f"channels, height and width for {network}"
        raise ConfigError.of("data.in_shape", list(in_shape), allowed, "use model=mlp: it takes samples of any shape")


def check_image_size(in_shape: Sequence[int], least: int, channels: Sequence[int]) -> None:
    """Raise ConfigError if images are smaller than `least` x `least`, the minimum for this number of `channels`."""
    if min(in_shape[1:]) < least:
        text = (
            f"{_images_of(in_shape)} are too small: model.channels={list(channels)} needs at least {least}x{least}; "
            f"{_LARGER}, shorten model.channels, or choose model=mlp"
        )
        raise ConfigError(Complaint("data.image_size", text, ("data.in_shape", "model.channels")))


def scaled(number: int, width: float) -> int:
    """Return a number of channels or hidden units, scaled by a factor; at least 1."""
    return max(1, round(number * width))


def check_name(name: str, known: Iterable[str], where: str) -> None:
    """Raise ConfigError unless the name is in `known`, the registry of a library.

    A name from an untrusted checkpoint must not import, download or open anything.
    """
    names = sorted(known)
    if name not in names:
        hint = did_you_mean(str(name), names) or f"examples: {', '.join(names[:: max(len(names) // 8, 1)][:8])}, ..."
        raise ConfigError.of("model.name", name, f"one of {len(names)} networks of {where}", hint)


def adapt_channels(network: nn.Module, in_channels: int) -> None:
    """Replace the first convolution of a network for RGB images, in place, if the images have other channels.

    The new random weights have the standard deviation of the old ones, rescaled to the number of input channels.
    """
    if in_channels == 3:
        return
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        # Tensors on the meta device have no values.
        spread = 1.0 if old.weight.is_meta else float(old.weight.std())
        nn.init.normal_(new.weight, std=spread * (old.in_channels / in_channels) ** 0.5)
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(name, new)


def check_fits(network: nn.Module, in_shape: Sequence[int], name: str) -> None:
    """Raise ConfigError if a network cannot take images of this shape; tried on the meta device, without computing."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    on_meta = {key: tensor.to("meta") for key, tensor in tensors.items()}
    try:
        with torch.no_grad():
            functional_call(network.eval(), on_meta, (torch.zeros(2, *in_shape, device="meta"),))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise unsuited(in_shape, name, error) from error
    finally:
        network.train()


def unsuited(in_shape: Sequence[int], name: str, error: Exception) -> ConfigError:
    """Return the error for images of a shape that a network rejects; it quotes the network's own error."""
    text = (
        f"{name} does not take {_images_of(in_shape)} with {in_shape[0]} channels: "
        f"{str(error).splitlines()[0][:200]}; {_LARGER}, or choose another network: resnet18 takes any size"
    )
    return ConfigError(Complaint("data.image_size", text, ("data.in_shape", "model.name")))


def _images_of(in_shape: Sequence[int]) -> str:
    """Return the height and width of images in words."""
    return f"images of {'x'.join(map(str, in_shape[1:]))}"

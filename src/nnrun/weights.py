"""Weights from elsewhere: a file with a state dict alone, of torch.save's or of safetensors'."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nnrun.archive import SAFETENSORS_SUFFIX, read_pickle
from nnrun.contents import weights_in
from nnrun.core.checkpoint import load_payload
from nnrun.errors import ArtifactError

# What a wrapper (DataParallel, torch.compile, another trainer's module) puts before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.")
_SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file that `archive.holds_weights_alone`; raise ArtifactError where it cannot be read."""
    if path.suffix == SAFETENSORS_SUFFIX:
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} cannot be read as safetensors: {error}") from error
    key = weights_in(read_pickle(path))
    assert key is not None, "the config was composed for a file that holds weights"
    payload = load_payload(path, parts=())
    return dict(payload[key] if key else payload)


def match(weights: dict[str, Tensor], network: nn.Module, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights under the network's names, and notes on what was done to the file's own.

    A prefix that all of them have is taken off. Where not one name is the network's, but the shapes are, one after the
    other, the order decides: such a file is of the same network, written down with other names. Otherwise the names
    stay, and loading says what does not fit.
    """
    notes = []
    wanted = network.state_dict()
    for prefix in _PREFIXES:
        if weights and all(name.startswith(prefix) for name in weights) and not weights.keys() <= wanted.keys():
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
            notes.append(f"{path} has {prefix!r} before every name, which is left out")
    shapes = [tensor.shape for tensor in weights.values()]
    if weights.keys().isdisjoint(wanted) and shapes == [tensor.shape for tensor in wanted.values()] and shapes:
        pairs = [f"{theirs} as {ours}" for theirs, ours in zip(weights, wanted, strict=True)]
        more = ", and so on" if len(pairs) > _SHOWN else ""
        notes.append(
            f"{path} has other names and the same shapes, and is taken in its order: {', '.join(pairs[:_SHOWN])}{more}"
        )
        weights = dict(zip(wanted, weights.values(), strict=True))
    return {name: _plain(tensor) for name, tensor in weights.items()}, notes


def _plain(tensor: Tensor) -> Tensor:
    """Return a parameter as a tensor."""
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor

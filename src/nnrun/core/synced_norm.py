"""BatchNorm over the samples of all ranks: each computes what a single process would."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnrun.core.seams.world import World

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def count_norms(network: nn.Module) -> int:
    """Return how many layers of a network `synced` changes."""
    return sum(type(layer) in _KINDS for layer in network.modules())


def synced(network: nn.Module, world: World) -> nn.Module:
    """Return a network whose BatchNorm layers use the samples of all ranks; parameters, buffers and names stay."""
    if type(network) in _KINDS:
        norm = SyncedBatchNorm.__new__(SyncedBatchNorm)
        norm.__dict__ = {**network.__dict__, "world": world}
        return norm
    for name, layer in network.named_children():
        setattr(network, name, synced(layer, world))
    return network


class SyncedBatchNorm(_BatchNorm):
    """BatchNorm whose mean and variance are those of the whole batch, in training. Made by `synced`."""

    world: World

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Take inputs of any number of dimensions: of the layer it was made from."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise `(N, C, ...)` by the statistics of all ranks, and note them as the layer it was made from does."""
        if not self.training:
            return super().forward(inputs)
        reduced = [0, *range(2, inputs.dim())]
        shape = [1, -1, *[1] * (inputs.dim() - 2)]
        values = inputs.float()
        own_count = values.new_full((1,), values.numel() / values.shape[1])
        sums = _SumOverRanks.apply(torch.cat([values.sum(reduced), own_count]), self.world)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centered = values - mean.view(shape)
        variance = _SumOverRanks.apply(centered.square().sum(reduced), self.world) / count
        self._note(mean.detach(), variance.detach(), count)
        outputs = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            outputs = outputs * self.weight.view(shape) + self.bias.view(shape)
        return outputs.to(inputs.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics toward those of a batch of `count` values for each channel."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else torch.tensor(self.momentum)
        share = share.to(mean.device, mean.dtype)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks; so is its gradient, since the loss is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, world: World) -> Tensor:  # type: ignore[override]
        """Return the sum."""
        ctx.world = world
        total = tensor.clone()
        world.sum([total])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """Return the sum of the gradients."""
        total = gradient.clone()
        ctx.world.sum([total])
        return total, None

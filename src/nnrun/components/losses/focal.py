"""Focal loss: down-weights samples that are already classified well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnrun.components.losses.class_weights import ClassWeights, OnDevice, class_weights


class Focal(nn.Module):
    """Return the focal loss of each sample, in fp32 (Lin et al. 2017, arXiv 1708.02002); the caller averages.

    That is -a (1 - p)^gamma log p, where p is the probability of the true class and a its class weight in `alpha`: a
    list, `balanced`, or None for 1. With gamma 0 it is the cross-entropy.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: ClassWeights = None, class_counts: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self._alpha = OnDevice(class_weights(alpha, class_counts, "loss.alpha"))

    @property
    def alpha(self) -> Tensor | None:
        """The weight of each class, `(C,)`; None if all are 1."""
        return self._alpha.value

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Take scores `(N, C)` and class indices `(N,)`; return losses `(N,)`."""
        # With bf16 scores, losses would have only three digits.
        log_p = -functional.cross_entropy(logits.float(), targets, reduction="none")
        # 1 - p, accurate for p near 1, and never 0, where the gradient with gamma < 1 would be infinite.
        missing = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        losses = -(missing**self.gamma) * log_p
        alpha = self._alpha.to(logits.device)
        return losses if alpha is None else losses * alpha[targets]

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}"

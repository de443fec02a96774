"""The network as it is deployed: with its preprocessing inside, or bare."""

from __future__ import annotations

from torch import Tensor, nn

from nnrun.core.seams import ExportContext, Preprocessing


class Deployed(nn.Module):
    """A network that takes raw samples."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing

    def forward(self, raw: Tensor) -> Tensor:
        """Return the scores of raw samples, uint8 `(N, C, H, W)` for images."""
        return self.network(self.preprocessing(raw))


def deployed(network: nn.Module, context: ExportContext, *, preprocess: bool) -> tuple[nn.Module, Tensor]:
    """Return the module that an artifact is made of, in eval mode, and an example batch of what it takes."""
    if preprocess:
        return Deployed(network, context.preprocessing).eval(), context.example
    return network.eval(), context.preprocessing(context.example)

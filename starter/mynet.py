"""The network. Change it, or add another one with its own YAML in conf/model/."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class MyNet(nn.Module):
    """Two convolutions, global average pooling, and a linear layer, for images of any size."""

    def __init__(self, in_shape: Sequence[int], num_outputs: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_shape[0], width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Take images `(N, C, H, W)`; return a score for each class, `(N, num_outputs)`."""
        return self.head(self.features(images).mean((2, 3)))

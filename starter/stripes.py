"""The data set: small gray images of stripes, generated from a seed. Replace it with your own."""

from __future__ import annotations

import numpy as np

# Step of the pattern from row to row, and from column to column.
DIRECTIONS = {"horizontal": (1, 0), "vertical": (0, 1), "diagonal": (1, 1)}


class Stripes:
    """Images of noisy stripes. Like a torch Dataset, it has a length and returns a sample by its index.

    nnrun builds it twice: with `train=True` for the training split and with `train=False` for the test split.
    """

    classes = tuple(DIRECTIONS)

    def __init__(self, train: bool, size: int) -> None:
        self.train, self.size = train, size

    def __len__(self) -> int:
        return 600 if self.train else 300

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return an image, uint8 `(H, W)`, and the index of its class. PIL images and colors work too."""
        if index >= len(self):
            raise IndexError(index)
        draw = np.random.default_rng([self.train, index])
        label = index % len(DIRECTIONS)
        down, across = DIRECTIONS[self.classes[label]]
        place = np.add.outer(down * np.arange(self.size), across * np.arange(self.size)) + draw.integers(4)
        picture = 80 * (place % 4 < 2) + draw.integers(0, 120, place.shape)
        return picture.astype(np.uint8), label

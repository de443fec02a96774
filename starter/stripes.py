"""The data set: small grey pictures of stripes, drawn from a seed. Put your own in its place."""

from __future__ import annotations

import numpy as np

# How a stripe's place changes along the rows and along the columns of a picture.
DIRECTIONS = {"horizontal": (1, 0), "vertical": (0, 1), "diagonal": (1, 1)}


class Stripes:
    """Pictures of stripes in noise. Like a data set of torch's it has a length, and gives a sample by its number.

    nnrun builds it twice, with `train=True` for the training part and with `train=False` for the test part.
    """

    classes = tuple(DIRECTIONS)

    def __init__(self, train: bool, size: int) -> None:
        self.train, self.size = train, size

    def __len__(self) -> int:
        return 600 if self.train else 300

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return a picture, uint8 `(H, W)`, and the number of its class. PIL images and colours work too."""
        if index >= len(self):
            raise IndexError(index)
        draw = np.random.default_rng([self.train, index])
        label = index % len(DIRECTIONS)
        down, across = DIRECTIONS[self.classes[label]]
        place = np.add.outer(down * np.arange(self.size), across * np.arange(self.size)) + draw.integers(4)
        picture = 80 * (place % 4 < 2) + draw.integers(0, 120, place.shape)
        return picture.astype(np.uint8), label

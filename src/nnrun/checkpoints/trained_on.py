"""The input that weights were trained on, as their publishers, or a run of nnrun, state it."""

from __future__ import annotations

from typing import NamedTuple


class TrainedOn(NamedTuple):
    """The input that weights were trained on: image size, and mean and standard deviation of pixels in 0..1.

    `weights` is their name; `num_scores` is the network's number of scores.
    """

    weights: str
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_scores: int

"""What the tests of augmentations share: images of noise, a generator, and rows of options that change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def make_images(
    number: int = 6, channels: int = 3, height: int = 12, width: int = 17, *, floats: bool = False
) -> Tensor:
    draws = torch.Generator().manual_seed(7)
    images = torch.randint(256, (number, channels, height, width), generator=draws, dtype=torch.uint8)
    return images.float() / 255 if floats else images


@pytest.fixture(name="make_images")
def _make_images() -> Callable[..., Tensor]:
    return make_images


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)

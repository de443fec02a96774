"""What the tests of the user's own data share: small folders of pictures that a network can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

CLASSES = ("ant", "bee", "cat é")


def pictures(number: int, label: int, size: int = 12, seed: int = 0) -> Tensor:
    """Grey pictures of one class, uint8 `(N, H, W)`: noise with a bright band, whose place tells the class."""
    draw = torch.Generator().manual_seed(100 * seed + label)
    images = torch.randint(0, 120, (number, size, size), generator=draw, dtype=torch.uint8)
    third = size // 3
    images[:, label * third : (label + 1) * third] += 120
    return images


def save(path: Path, picture: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.numpy()).save(path)
    return path


def make_folder(root: Path, parts: Mapping[str, int], classes: tuple[str, ...] = CLASSES, size: int = 12) -> Path:
    """Write so many pictures of each class below each part; a part with an empty name is the root itself."""
    for seed, (part, number) in enumerate(parts.items()):
        for label, name in enumerate(classes):
            for index, picture in enumerate(pictures(number, label, size, seed)):
                save(root / part / name / f"{index:03}.png", picture)
    return root

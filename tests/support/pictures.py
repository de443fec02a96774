"""What the tests of the user's own data share: small folders of pictures that a network can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLASSES = ("ant", "bee", "cat é")
# What the YAML of a source of pictures gives, besides the root.
SETTINGS = {
    "image_size": None,
    "channels": None,
    "on_bad": "error",
    "test_fraction": None,
    "split_seed": 0,
    "split_by": "position",
    "mean": None,
    "std": None,
    "in_shape": None,
}
# Names of classes that people and texts order differently.
COUNTED = ("1", "2", "10", "b2", "b10")


def pictures(number: int, label: int, size: int = 12, seed: int = 0) -> Tensor:
    """Gray pictures of one class, uint8 `(N, H, W)`: noise with a bright band, whose place tells the class."""
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


def arrays(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many pictures of each class, shuffled, uint8 `(N, H, W)`, and their labels."""
    x = torch.cat([pictures(number, label, seed=seed) for label in range(3)])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[order].numpy(), torch.arange(3).repeat_interleave(number)[order].numpy()


def make_arrays(path: Path, number: int) -> Path:
    """Write an .npz with x and y; in a folder, a file for each array of a training and a test part."""
    if path.suffix == ".npz":
        x, y = arrays(number)
        np.savez(path, x=x, y=y)
        return path
    path.mkdir(parents=True)
    for seed, part in enumerate(("train", "test")):
        x, y = arrays(number, seed)
        np.save(path / f"x_{part}.npy", x.astype(np.float32) / 100 - 1)
        np.save(path / f"y_{part}.npy", y)
    return path


def labelled(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gray pictures with bright bands, uint8 `(N, 12, 12)`, and which of the three each has, float `(N, 3)`.

    The first label is rare; some pictures have none.
    """
    draw = torch.Generator().manual_seed(seed)
    y = (torch.rand(number, 3, generator=draw) < torch.tensor([0.15, 0.4, 0.5])).float()
    x = torch.randint(0, 120, (number, 12, 12), generator=draw, dtype=torch.uint8)
    x += (15 * y.repeat_interleave(4, dim=1)).byte()[:, :, None]
    return x.numpy(), y.numpy()


def valued(number: int, num_values: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gray pictures whose bands are more or less bright, uint8 `(N, 12, 12)`, and values that say how much.

    The values, float `(N, num_values)`, are in units of their own: about 1000, and about -0.002.
    """
    draw = torch.Generator().manual_seed(seed)
    light = torch.rand(number, num_values, generator=draw)
    x = torch.randint(0, 60, (number, 12, 12), generator=draw, dtype=torch.uint8)
    rows = light.repeat_interleave(12 // num_values, dim=1)
    x += (180 * rows).byte()[:, :, None]
    scale, shift = torch.tensor([50.0, 0.001])[:num_values], torch.tensor([1000.0, -0.002])[:num_values]
    return x.numpy(), (light * scale + shift).numpy()


OWN_DATA = """\
import numpy as np
from PIL import Image
from support.pictures import arrays

class MyData:
    classes = ["ant", "bee", "cat"]

    def __init__(self, train, kind="pillow", broken=None):
        self.x, self.y = arrays(30 if train else 10, seed=int(not train))
        self.kind, self.broken = kind, broken

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        x, y = self.x[index], int(self.y[index])
        if index == 7 and self.broken == "raises":
            raise KeyError("no such key")
        if self.broken == "unlabelled":
            y = None
        if index == 7 and self.broken == "label":
            y = -100
        if self.kind == "float":
            x = (x / 100).astype("float32")
            return np.where(index == 7 and self.broken == "hole", np.nan, x), y
        return (Image.fromarray(x) if self.kind == "pillow" else x), y
"""
OWN_DATA_YAML = """\
# My own data.
defaults: [_base]
name: mine
dataset:
  _target_: mydata.MyData
  kind: pillow
  broken: null
"""
OWN_DATA_FILES = {"mydata.py": OWN_DATA, "conf/data/mine.yaml": OWN_DATA_YAML}
# The same kind of data, not divided into parts.
UNDIVIDED = {
    "mydata.py": """\
from PIL import Image
from support.pictures import arrays

class MyData:
    classes = ["ant", "bee", "cat"]

    def __init__(self, number=20, seed=0, labels=(0, 1, 2)):
        x, y = arrays(number, seed)
        self.rows = [(x[i], int(y[i])) for i in range(len(y)) if int(y[i]) in labels]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        x, y = self.rows[index]
        return Image.fromarray(x), y
""",
    "conf/data/mine.yaml": OWN_DATA_YAML.replace(
        "kind: pillow\n  broken: null", "number: 20\n  seed: 0\n  labels: [0, 1, 2]"
    ),
}

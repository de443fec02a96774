"""Samples of somebody's Dataset, in every kind that people give, come out in one form, with the same values."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError
from nnrun.components.data import map_style as own
from nnrun.components.data.image_form import Form
from nnrun.components.data.map_style import OwnDataset, open_parts
from nnrun.components.data.map_style_items import Items

GREY = torch.arange(20, dtype=torch.uint8).view(4, 5)
RGB = torch.stack([GREY, GREY + 50, GREY + 100])
SETTINGS = {
    "name": "mine",
    "image_size": None,
    "channels": None,
    "on_bad": "error",
    "split_seed": 0,
    "split_by": "position",
    "in_shape": None,
    "white": "auto",
    "resize": "crop",
}
SETTINGS |= {"class_order": "natural", "targets": "auto"}


def read(picture, form: Form, label: object = 1):
    read, label = Items("data=mine", {"train": [(picture, label)]}, in_processes=False).read(0, form)
    return read.kind, read.pixels, label


@pytest.mark.parametrize(
    ("picture", "channels", "expected"),
    [
        (Image.fromarray(GREY.numpy()), 1, GREY[None]),
        (GREY, 1, GREY[None]),
        (GREY.numpy(), 1, GREY[None]),
        (GREY[None], 1, GREY[None]),
        (GREY.numpy()[..., None], 1, GREY[None]),
        (GREY, 3, GREY.expand(3, -1, -1)),
        (RGB, 3, RGB),
        (RGB.permute(1, 2, 0).numpy(), 3, RGB),
        (RGB.permute(1, 2, 0), 3, RGB),
        (Image.fromarray(RGB.permute(1, 2, 0).numpy()), 3, RGB),
    ],
)
def test_pixels_of_any_kind_are_the_same_pixels(picture, channels, expected):
    kind, values, label = read(picture, Form(channels, 4, 5), torch.tensor(7))
    assert torch.equal(values, expected)
    assert (kind.height, kind.width, label, type(label)) == (4, 5, 7, int)


@pytest.mark.parametrize("picture", [RGB / 255, (RGB / 255).numpy(), (RGB / 255).double().permute(1, 2, 0).numpy()])
def test_floats_of_any_kind_stay_floats(picture):
    kind, values, _ = read(picture, Form(3, 4, 5, torch.float32))
    assert kind.is_float
    assert torch.equal(values, RGB / 255)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (RGB, "it is a Tensor; a sample is a pair"),
        ((RGB, 1, 2), "it is a tuple of 3; a sample is a pair"),
        (("a.png", 1), "x is a str; an image is a PIL image"),
        ((RGB.long(), 1), "x is torch.int64; images are uint8 or float"),
        ((torch.zeros(7, 4, 5), 1), r"x has shape \(7, 4, 5\)"),
        ((torch.zeros(3, 9, 9), 1), "some samples are floats and some are pixels"),
    ],
)
def test_what_is_no_sample_is_named(item, words):
    with pytest.raises(DataError, match=f"data=mine, train: sample 0: .*{words}"):
        Items("data=mine", {"train": [item]}, in_processes=False).read(0, Form(3, 4, 5))


def test_a_class_says_by_its_parameters_how_it_is_told_its_part():
    def made(**part):
        return part

    assert open_parts(made, ["train", "x"], {}) == {"train": {"train": True}, "test": {"train": False}}
    assert open_parts(made, ["split"], {"split": "train"}) == {"train": {"split": "train"}, "test": {"split": "test"}}
    assert open_parts(made, ["split"], {"split": "everything"}) == {"all": {}}
    assert open_parts(made, ["x"], {}) == {"all": {}}


class Noisy:
    """A data set with a random change inside, drawn from all the generators that people draw from."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        noise = random.randrange(50) + int(np.random.randint(50)) + torch.randint(0, 50, (4, 4)).to(torch.uint8)
        return noise + 100 * (index % 2), index % 2


def test_a_set_that_draws_is_read_the_same_each_time_and_that_is_said():
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate()
    first, second = (OwnDataset(Noisy, [], {}, **SETTINGS).load() for _ in range(2))
    assert torch.equal(first.train.inputs.loaded(), second.train.inputs.loaded())
    assert first.fingerprint == second.fingerprint
    assert "samples differ each time they are read" in first.findings.notes[0]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (len(first.train), len(first.test), first.class_names) == (24, 6, ("0", "1"))


def test_more_than_half_of_the_memory_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(own, "fits_in_memory", lambda _: False)
    with pytest.raises(Exception, match=r"a smaller data\.image_size, or save them as files"):
        OwnDataset(Noisy, [], {}, **SETTINGS).load()

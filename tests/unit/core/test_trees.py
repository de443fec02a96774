"""Trees of tensors: the names of their tensors, their samples, and their structure in JSON."""

from __future__ import annotations

import json
from collections import namedtuple
from typing import Any

import pytest
import torch

from nnrun.core.trees import form_of, named_leaves, num_samples, samples_of

ONE, TWO = torch.arange(6).view(3, 2), torch.arange(3)


@pytest.mark.parametrize(
    ("tree", "names", "form"),
    [
        (ONE, ["input"], 0),
        ({"image": ONE, "age": TWO}, ["image", "age"], {"dict": {"image": 0, "age": 1}}),
        ((ONE, TWO), ["input_0", "input_1"], {"tuple": [0, 1]}),
        ({"b": [ONE], "a": (TWO, ONE)}, ["b.0", "a.0", "a.1"], {"dict": {"b": {"list": [0]}, "a": {"tuple": [1, 2]}}}),
    ],
)
def test_tensors_have_the_names_of_their_keys_in_the_order_of_the_tree(tree: Any, names: list[str], form: Any) -> None:
    assert list(named_leaves(tree)) == names
    assert form_of(tree) == json.loads(json.dumps(form_of(tree))) == form


def test_samples_are_taken_of_every_tensor() -> None:
    tree = {"image": ONE, "rest": (TWO,)}
    assert num_samples(tree) == 3
    taken = samples_of(tree, slice(1, 2))
    assert (taken["image"].tolist(), taken["rest"][0].tolist()) == ([[2, 3]], [1])


def test_what_has_no_name_of_its_own_or_no_form_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"two of the inputs have the same name: a\.0, a\.0"):
        named_leaves({"a": (ONE,), "a.0": TWO})
    with pytest.raises(TypeError, match="a Pair is none of these"):
        form_of(namedtuple("Pair", ["left"])(ONE))

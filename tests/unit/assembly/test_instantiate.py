"""Objects made from sections: by a call, or by Hydra where a section has parts or words of Hydra's own."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from types import SimpleNamespace

import pytest
from torch import nn

from nnrun.assembly.instantiate import build

PLAIN = {"_target_": "types.SimpleNamespace", "sizes": [1, [2, 3]], "names": {"a": "${no.reference}"}}
LAYERS = [{"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, {"_target_": "torch.nn.ReLU"}]


def test_a_section_is_a_call_with_copies_of_its_values() -> None:
    """A value that looks like a reference, as a name from the data may, is a value."""
    made = build(PLAIN, "model", SimpleNamespace)
    assert vars(made) == {"sizes": [1, [2, 3]], "names": {"a": "${no.reference}"}}
    made.sizes[1].append(4)
    made.names["a"] = "b"
    assert PLAIN["sizes"] == [1, [2, 3]]
    assert PLAIN["names"] == {"a": "${no.reference}"}


def test_what_the_run_knows_takes_the_place_of_a_setting() -> None:
    here = object()
    made = build(PLAIN, "model", SimpleNamespace, sizes=(1, 2), here=here)
    assert made.sizes == [1, 2]
    assert made.here is here


@pytest.mark.parametrize(
    ("section", "kind", "says"),
    [
        ({"_target_": "torch.nn.Sequential", "_args_": LAYERS}, nn.Sequential, "ReLU()"),
        ({"_target_": "types.SimpleNamespace", "inner": LAYERS[1]}, SimpleNamespace, "ReLU()"),
        ({"_target_": "types.SimpleNamespace", "inner": {"deep": [LAYERS[1]]}}, SimpleNamespace, "[ReLU()]"),
        ({"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 2}, partial, "in_features=2"),
        (
            {"_target_": "types.SimpleNamespace", "_recursive_": False, "inner": LAYERS[1]},
            SimpleNamespace,
            "'_target_': 'torch.nn.ReLU'",
        ),
    ],
    ids=["arguments", "a part", "a part of a part", "a partial call", "parts that are left"],
)
def test_parts_and_words_of_hydras_are_as_hydra_makes_them(
    section: dict[str, object], kind: type[object], says: str
) -> None:
    assert says in repr(build(section, "model", kind))


def test_the_order_of_settings_is_kept() -> None:
    made = build({"_target_": "collections.OrderedDict", "b": 1, "a": 2}, "model", OrderedDict)
    assert list(made) == ["b", "a"]

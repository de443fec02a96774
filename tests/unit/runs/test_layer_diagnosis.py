"""Diagnoses of layers from watched rows: each fault is named, and the good layers beside it are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from nnrun.runs.diagnosis import Stage
from nnrun.runs.layer_diagnosis import layers


def watched(**values: float | Sequence[float]) -> list[dict[str, Any]]:
    """Six watched rows; a single value is the same in each."""
    return [
        {"split": "watch", "step": 50 * at, "epoch": 1}
        | {
            name.replace("__", "/"): each[at] if isinstance(each, list | tuple) else each
            for name, each in values.items()
        }
        for at in range(6)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"dead__a": 61 / 64}, ["dead:a"]),
        ({"dead__a": 0.8}, []),
        ({"dead__a": [1, 1, 1, 1, 1, 0.1]}, []),
        ({"saturated__t": 0.95}, ["saturated:t"]),
        ({"saturated__t": [0, 0, 0, 0.95, 0.95, 0.2]}, []),
        ({"gradients__a": 1e-9, "gradients__b": 1e-2}, ["vanishing:a"]),
        ({"gradients__a": 1e-7, "gradients__b": 1e-2}, []),
        ({"gradients__a": 0.0, "gradients__b": 1e-2}, ["zero:a"]),
        ({"gradients__a": [0, 0, 0, 0, 0, 1e-3], "gradients__b": 1e-2}, []),
        ({"gradients__a": 0.0, "gradients__b": 0.0}, []),  # a perfect fit
        ({"gradients__a": [1, 1, 1, 1, 500, 600]}, ["exploding:a"]),
        ({"gradients__a": [1, 1, 1, 1, 500, 2]}, []),
        ({"gradients__a": [1, 1e-4, 1e-6, 1e-6, 1e-3, 1e-3]}, []),  # noise at the end of a good training
    ],
)
def test_layers_are_judged_by_their_newest_rows(values, expected) -> None:
    found = layers(watched(**values), {"a": 64})
    assert [each.key for each in found] == expected


def test_a_warning_names_the_layer_and_what_usually_helps() -> None:
    text = "layer features.3: 61 of 64 units are dead (always 0). A lower learning rate or batchnorm usually helps"
    assert [each.text for each in layers(watched(**{"dead__features.3": 61 / 64}), {"features.3": 64})] == [text]
    assert layers(watched(**{"dead__features.3": 61 / 64})[:2], {"features.3": 64}) == []


def stages(*losses: float) -> list[Stage]:
    """Validations with these training losses, 100 updates apart."""
    return [Stage(100 * n, n, 0.1, loss, None, loss, None) for n, loss in enumerate(losses, 1)]


def test_updates_are_judged_beside_the_loss() -> None:
    """Large updates of a training that learns are not reported."""
    stuck, good = stages(2.31, 2.3, 2.3), stages(1.2, 0.6, 0.4)
    for ratio, key in ((0.5, "lr_high"), (1e-7, "lr_low")):
        assert [each.key for each in layers(watched(updates__a=ratio), {}, stuck)] == [key]
        assert layers(watched(updates__a=ratio), {}, good) == []
    assert layers(watched(updates__a=1e-3), {}, stuck) == []

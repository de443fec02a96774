"""Of samples of several tensors each is held against the scale that the network learned it on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.scales import check_learned
from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.normalize_tree import measured
from nnrun.core.seams.data import Split

SETTINGS = SimpleNamespace(name="mine", dataset={})
DRAW = torch.Generator().manual_seed(0)
INPUTS = {
    "image": torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=DRAW),
    "size": torch.rand(20, 3, generator=DRAW),
    "city": torch.arange(20),
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"city": torch.arange(20) * 1000}, None),
        ({"image": INPUTS["image"].float() / 255}, "trained on pixels .*, but data=mine: image holds float32"),
        (
            {"size": INPUTS["size"] * 255},
            "data=mine: size is on another scale than the data the network was trained on",
        ),
    ],
)
def test_each_tensor_has_a_scale_of_its_own(change: dict[str, torch.Tensor], says: str | None) -> None:
    split = Split(INPUTS | change, torch.zeros(20, 1))
    data = Opened(split, None, split, Targets.values(), measured(split.inputs), {})
    if says is None:
        check_learned(measured(INPUTS), data, SETTINGS)
    else:
        with pytest.raises(DataError, match=says):
            check_learned(measured(INPUTS), data, SETTINGS)

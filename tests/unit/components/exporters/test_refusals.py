"""Networks whose control flow a format cannot express: the error names a format that can."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nnrun.components.exporters.refusals import refusing
from nnrun.core.seams.export import CannotExport


class OverLength(nn.Module):
    """A loop over the length of the samples."""

    def forward(self, tokens: Tensor) -> Tensor:
        total = tokens[:, 0]
        for place in range(1, tokens.shape[1]):
            total = total * 2 + tokens[:, place]
        return total


def test_a_loop_over_the_length_names_a_format_that_takes_it() -> None:
    """Negative control: an error of another kind is passed on."""
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    says = "control flow, which onnx cannot express; use export=torchscript"
    with pytest.raises(CannotExport, match=says), refusing("onnx"):
        torch.export.export(OverLength(), (torch.ones(2, 8),), dynamic_shapes=(free,))
    with pytest.raises(RuntimeError, match="another"), refusing("onnx"):
        raise RuntimeError("another")

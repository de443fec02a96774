"""What is stripped from an artifact changes nothing of what it computes."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

from nnrun.components.exporters.stripping import strip_script


class Halves(nn.Module):
    def forward(self, numbers: Tensor) -> Tensor:
        return numbers / torch.tensor(2)


def test_a_stripped_script_divides_integers_as_it_did() -> None:
    """The file states a version, by which torch decides what a division is: once it had no fraction."""
    file, numbers = io.BytesIO(), torch.tensor([3])
    torch.jit.save(torch.jit.script(Halves().eval()), file)
    stripped = torch.jit.load(io.BytesIO(strip_script(file.getvalue())))
    assert stripped(numbers).tolist() == [1.5]
    records = [torch._C.PyTorchFileReader(io.BytesIO(it)) for it in (file.getvalue(), strip_script(file.getvalue()))]
    assert len({it.get_record("version") for it in records}) == 1
    assert not any(name.endswith(".debug_pkl") for name in records[1].get_all_records())

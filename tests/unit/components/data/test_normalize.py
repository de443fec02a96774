from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnrun.components.data.normalize import Normalize

GREY = Normalize((0.1307,), (0.3081,))
COLOUR = Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def formula(raw: Tensor, normalize: Normalize) -> Tensor:
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (normalize.mean, normalize.std))
    return ((raw.to(torch.float64) / 255 - mean) / std).to(torch.float32)


def pixels(normalize: Normalize, num_images: int = 4) -> Tensor:
    shape = (num_images, len(normalize.mean), 5, 6)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("normalize", [GREY, COLOUR])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_is_the_formula_and_keeps_the_memory_format(normalize: Normalize, memory_format: torch.memory_format) -> None:
    raw = pixels(normalize).to(memory_format=memory_format)
    before = raw.clone()

    result = normalize(raw)

    assert result.dtype == torch.float32
    torch.testing.assert_close(result, formula(raw, normalize), rtol=1e-6, atol=1e-6)
    assert result.stride() == raw.stride()
    assert torch.equal(raw, before)


def test_does_not_write_into_floats_that_it_is_given() -> None:
    raw = pixels(GREY).to(torch.float32)
    before = raw.clone()
    GREY(raw)
    assert torch.equal(raw, before)


@pytest.mark.parametrize("normalize", [GREY, COLOUR])
def test_comes_back_from_plain_values_and_from_a_pickle(normalize: Normalize) -> None:
    normalize(pixels(normalize))  # what is kept for the device must not get into the pickle
    plain = json.loads(json.dumps(normalize.to_plain()))
    assert plain.pop("_target_") == f"{Normalize.__module__}.{Normalize.__qualname__}"
    again = Normalize(**plain)
    assert again == normalize
    assert torch.equal(again(pixels(normalize)), normalize(pixels(normalize)))
    assert pickle.loads(pickle.dumps(normalize)) == normalize
    with pytest.raises(AttributeError):
        normalize.mean = (0.0,)  # type: ignore[misc]


def test_what_an_evaluation_kept_serves_a_backward_pass() -> None:
    normalize = Normalize((0.1, 0.2), (0.3, 0.4))  # of this test alone: nothing is kept for it yet
    with torch.inference_mode():
        normalize(pixels(normalize))
    raw = pixels(normalize).to(torch.float32).requires_grad_()
    normalize(raw).sum().backward()
    expected = torch.tensor([1 / (255 * 0.3), 1 / (255 * 0.4)]).view(1, 2, 1, 1).expand_as(raw)
    torch.testing.assert_close(raw.grad, expected)


def test_fake_tensors_leave_nothing_behind() -> None:
    normalize = Normalize((0.5, 0.6), (0.7, 0.8))  # of this test alone
    with FakeTensorMode() as mode:
        fake = normalize(mode.from_tensor(pixels(normalize)))
        assert fake.shape == (4, 2, 5, 6)
    raw = pixels(normalize)
    torch.testing.assert_close(normalize(raw), formula(raw, normalize), rtol=1e-6, atol=1e-6)


class Deployed(nn.Module):
    def __init__(self, normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, raw: Tensor) -> Tensor:
        return self.normalize(raw)


@pytest.mark.parametrize(
    "normalize", [GREY, COLOUR, Normalize((0.15, 0.25), (0.35, 0.45))], ids=["gray", "after a call", "first call"]
)
def test_exports_to_a_program_with_a_dynamic_batch(normalize: Normalize) -> None:
    if normalize is COLOUR:
        normalize(pixels(normalize))
    batch = torch.export.Dim("batch")
    program = torch.export.export(Deployed(normalize), (pixels(normalize),), dynamic_shapes=({0: batch},))
    raw = pixels(normalize, num_images=7)
    assert torch.equal(program.module()(raw), normalize(raw))


@pytest.mark.parametrize("normalize", [GREY, COLOUR])
def test_exports_to_onnx(normalize: Normalize, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "normalize.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        Deployed(normalize).eval(), (pixels(normalize),), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    raw = pixels(normalize, num_images=7)
    (result,) = session.run(None, {session.get_inputs()[0].name: raw.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), normalize(raw), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.parametrize("normalize", [GREY, COLOUR])
def test_can_be_traced_to_torchscript(normalize: Normalize) -> None:
    traced = torch.jit.trace(Deployed(normalize), pixels(normalize))
    raw = pixels(normalize, num_images=7)
    assert torch.equal(traced(raw), normalize(raw))

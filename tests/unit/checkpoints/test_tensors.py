"""The law that the reader of checkpoints takes whatever torch.save writes of tensors and plain values, to the bit."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.host_copy import HostCopy, canonical
from nnrun.checkpoints.read import read_pickle
from nnrun.checkpoints.stored_tensors import DTYPE_BYTES
from nnrun.checkpoints.tensors import read_tensors

FEW = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def tensors(draw) -> Tensor:
    """A tensor of any type and shape, also empty, transposed, sliced or with a gradient."""
    dtype = draw(st.sampled_from(sorted(DTYPE_BYTES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    whole = torch.arange(int(torch.Size(shape).numel())).reshape(shape).to(getattr(torch, dtype))
    views = [lambda t: t, lambda t: t.transpose(0, -1) if t.dim() else t, lambda t: t[1:] if t.dim() else t]
    views += [lambda t: t[..., ::2] if t.dim() else t]
    made = draw(st.sampled_from(views))(whole)
    return made.requires_grad_() if dtype in ("float32", "float64") and draw(st.booleans()) else made


TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["", "\ud800", "\x00", "${x}", "a.b", "ä" * 300])
PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXTS
TREES = st.recursive(
    PLAIN | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS | st.integers(-(2**40), 2**40), inner, max_size=4)
    ),
    max_leaves=10,
)


def same(ours, wanted) -> bool:
    if isinstance(wanted, Tensor):
        is_alike = (ours.dtype, ours.shape) == (wanted.dtype, wanted.shape)
        return is_alike and bits(ours) == bits(wanted)
    if type(ours) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return list(ours) == list(wanted) and all(same(ours[key], item) for key, item in wanted.items())
    if isinstance(wanted, list | tuple):
        return len(ours) == len(wanted) and all(map(same, ours, wanted))
    return ours == wanted


def bits(tensor: Tensor) -> bytes:
    flat = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""


@FEW
@given(tree=TREES)
def test_whatever_torch_writes_is_read_to_the_bit_and_as_torch_reads_it(tmp_path, tree):
    path = tmp_path / "x.ckpt"
    for content in (tree, canonical(tree), HostCopy().take(tree)):
        torch.save(content, path)
        file = OpenFile(path)
        ours = read_tensors(file, read_pickle(file))
        assert same(ours, tree)
        assert same(torch.load(path, weights_only=True), tree)


def test_an_expanded_tensor_is_written_out(tmp_path):
    """A storage that is smaller than its tensor is refused: it would take memory that the file does not have."""
    torch.save(HostCopy().take({"w": torch.ones(1).expand(3)}), tmp_path / "x.ckpt")
    file = OpenFile(tmp_path / "x.ckpt")
    assert same(read_tensors(file, read_pickle(file)), {"w": torch.ones(3)})


def test_another_value_or_another_bit_would_be_seen():
    """Negative control of the comparison."""
    whole = torch.zeros(2)
    assert not same({"a": whole}, {"a": -whole})
    assert not same({"a": whole.half()}, {"a": whole})
    assert not same([1], [True])
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})

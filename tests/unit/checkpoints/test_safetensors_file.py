"""Weights in safetensors are described, and read, in one way alone.

Negative control: what the library writes is read as the library reads it.
"""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from nnrun.base.errors import ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.safetensors_file import describe
from nnrun.checkpoints.tensors import read_tensors

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2),
    torch.complex64,
]


def test_what_the_library_writes_is_read_as_the_library_reads_it(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {str(dtype): torch.randn(3, 5).abs().mul(3).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4), "none": torch.zeros(0), "é/ß": torch.ones(2)}
    save_file(tensors, path, {"made": "by hand"})
    ours, theirs = read_tensors(OpenFile(path), describe(OpenFile(path))), load_file(path)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape, ours[name].stride()) == (
            tensor.dtype,
            tensor.shape,
            tensor.stride(),
        )
        assert ours[name].untyped_storage().tolist() == tensor.untyped_storage().tolist(), name


def entry(begin: int = 0, end: int = 8, shape: object = (2,), dtype: object = "F32", **more: object) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more})


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("{%s}", bytes(8)),
        (f'{{"a":{entry()}', bytes(8)),
        (f'{{"a":{entry()},"a":{entry()}}}', bytes(8)),
        (f'{{"a":{entry()},"b":{entry()}}}', bytes(8)),
        (f'{{"a":{entry()},"b":{entry(4, 12)}}}', bytes(12)),
        (f'{{"a":{entry()},"b":{entry(12, 20)}}}', bytes(20)),
        (f'{{"a":{entry(4, 12)}}}', bytes(12)),
        (f'{{"a":{entry()}}}', bytes(9)),
        (f'{{"a":{entry()}}}', bytes(7)),
        (f'{{"a":{entry(0, 4)}}}', bytes(4)),
        (f'{{"a":{entry(8, 0)}}}', bytes(8)),
        (f'{{"a":{entry(shape=[2**40])}}}', bytes(8)),
        (f'{{"a":{entry(shape=[-2])}}}', bytes(8)),
        (f'{{"a":{entry(shape=[2.0])}}}', bytes(8)),
        (f'{{"a":{entry(shape=[True, 2])}}}', bytes(8)),
        ('{{"a":{}}}'.format(entry(shape="2")), bytes(8)),
        (f'{{"a":{entry(shape=[1] * 100 + [2])}}}', bytes(8)),
        ('{{"a":{}}}'.format(entry(dtype="F4")), bytes(8)),
        ('{{"a":{}}}'.format(entry(dtype=["F32"])), bytes(8)),
        (f'{{"a":{entry(more=1)}}}', bytes(8)),
        ('{"a":[]}', b""),
        ("[]", b""),
        (f' {{"a":{entry()}}}', bytes(8)),
        ('{"a":' + "[" * 10**5, b""),
        ('{"a":%s}' % ("1" * 10**5), b""),
        (f'{{"a":{entry(end=0, shape=[0, 2**61, 2**61])}}}', b""),
        ('{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', b""),
        ('{"a":[' + "[]," * 2**20 + "[]]}", b""),
        ('{{"{}":{}}}'.format("x" * 10**5, entry()), bytes(8)),
    ],
)
def test_a_file_that_could_be_read_in_two_ways_is_refused(tmp_path, header, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + data)
    with pytest.raises(ArtifactError, match=r"x.safetensors cannot be read as safetensors: "):
        describe(OpenFile(path))


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}"])
def test_a_header_longer_than_the_file_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="its header is longer than the file"):
        describe(OpenFile(tmp_path / "x.safetensors"))

"""Files of other formats, those of other trainers among them."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from campaigns.strangers.kind import CKPT, INIT_FROM, LOAD, TITLE, Bench, Hostile, packed, raw
from campaigns.strangers.torch_zip import Call
from campaigns.strangers.values import called, calling, make_pipe, set_weight, touch


def safetensors(header: bytes, num_bytes: int | None = None) -> bytes:
    """Return a file of safetensors; `num_bytes` is what it says of the length of its header."""
    return struct.pack("<Q", len(header) if num_bytes is None else num_bytes) + header


def safe(header: bytes, num_bytes: int | None = None) -> Hostile:
    """Make a file of safetensors, which hold weights alone."""
    content = safetensors(header, num_bytes)
    return Hostile(lambda bench: bench.path.write_bytes(content), (INIT_FROM,), name="stranger.safetensors")


def safe_header(shape: list[int], offsets: list[int]) -> bytes:
    """Return what safetensors say of their only tensor."""
    return json.dumps({"weight": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()


def alone(change: Callable[[dict[str, Any]], Any], codes: Sequence[int] = (4,)) -> Hostile:
    """Make a file of weights alone, as other trainers save them."""
    return Hostile(
        lambda bench: torch.save({"state_dict": change(dict(bench.good["model"]))}, bench.path),
        (INIT_FROM,),
        tuple(codes),
    )


def npy(bench: Bench) -> bytes:
    """Return a numpy file of objects, which are a pickle."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + calling(bench)


def save_old(bench: Bench) -> None:
    """Make a file as torch wrote them before 1.6: pickles one after another."""
    evil = bench.good | {"model": Call(os.system, touch(bench.canary))}
    torch.save(evil, bench.path, _use_new_zipfile_serialization=False)


def save_tar(bench: Bench) -> None:
    """Make a file as torch wrote them before 0.1.10: a tar of pickles."""
    evil = calling(bench)
    with tarfile.open(bench.path, "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(evil)
            archive.addfile(info, io.BytesIO(evil))


def save_script(bench: Bench) -> None:
    """Make a TorchScript file."""
    with warnings.catch_warnings():
        # It is deprecated, and still around.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), str(bench.path))


FORMATS = {
    "nothing": raw(lambda _: b""),
    "a text": raw(lambda _: b"not a checkpoint\n" * 1000),
    "a picture": raw(lambda _: b"\x89PNG\r\n\x1a\n" + bytes(10_000)),
    "a pickle of protocol 0": raw(lambda bench: calling(bench, 0)),
    "a pickle of protocol 2": raw(lambda bench: calling(bench, 2)),
    "a pickle of protocol 5": raw(lambda bench: calling(bench, 5)),
    "torch before 1.6": Hostile(save_old),
    "torch before 0.1.10": Hostile(save_tar),
    "numpy": raw(npy),
    "numpy, zipped": packed(lambda bench: {"/weights.npy": npy(bench)}),
    "TorchScript": Hostile(save_script),
    "a .pt2 program": packed(lambda bench: {"archive_format": b"pt2", "models/model.json": b"{}", **called(bench)}),
    "a .mar archive": packed(lambda bench: {"/MAR-INF/MANIFEST.json": b"{}", "handler.py": b"", **called(bench)}),
    "safetensors by another name": raw(lambda _: safetensors(b"{}")),
    "safetensors of nothing": safe(b"{}"),
    "safetensors of 2^63 bytes": safe(b"{}", num_bytes=2**63 - 1),
    "safetensors of half a header": safe(b'{"x"', num_bytes=100),
    "safetensors, deep": safe(b'{"x":' + b"[" * 100_000),
    "safetensors with 2^40 values": safe(safe_header([2**40], [0, 2**42])),
    "safetensors with a negative size": safe(safe_header([-1], [0, 4])),
    "safetensors with a part before the start": safe(safe_header([1], [-4, 0])),
    "safetensors with a part behind the end": safe(safe_header([1], [2**40, 2**40 + 4])),
    "safetensors that name something twice": safe(safe_header([1], [0, 4])[:-1] + b"," + safe_header([1], [0, 4])[1:]),
    "safetensors that lie over each other": safe(
        b'{"a":' + safe_header([1], [0, 4])[11:-1] + b"," + safe_header([1], [0, 4])[1:]
    ),
    "safetensors of an odd type": safe(safe_header([1], [0, 4]).replace(b"F32", b"F4")),
    "safetensors of an odd key": safe(safe_header([1], [0, 4]).replace(b"shape", b"shap\\u0000")),
    "safetensors that command the terminal": safe(json.dumps({TITLE: {}}).encode()),
    "a pickle that says it is safetensors": Hostile(
        lambda bench: bench.path.write_bytes(calling(bench)), (INIT_FROM,), name="stranger.safetensors"
    ),
    "NaN, of another trainer's": alone(set_weight(float("nan"))),
    "weights that command the terminal, of another trainer's": alone(
        lambda model: {TITLE + name: weight for name, weight in model.items()}, (0, 4)
    ),
    "weights with names of 1 MB, of another trainer's": alone(
        lambda model: {name * 10**5: weight for name, weight in model.items()}, (0, 4)
    ),
    "a link to an endless file": Hostile(lambda bench: bench.path.symlink_to("/dev/zero")),
    "a pipe": Hostile(lambda bench: make_pipe(bench.path), (CKPT, INIT_FROM, LOAD)),
}

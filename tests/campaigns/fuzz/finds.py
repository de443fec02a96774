"""Inputs that were faults once, by name: the target, and the bytes. Each must be read or refused now."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

from campaigns.fuzz.of_checkpoints import empty_tensor, odd_domain, odd_metadata
from campaigns.fuzz.of_data import npy_of, without_unknown

# A tuple in a tuple, very often: hashing it as a key takes the whole stack of C.
_NESTED_KEY = b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns."


def _zip_with(change: Callable[[bytearray, int], None]) -> bytes:
    """Return an `.npz` whose list of entries is changed, given its beginning."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.npy", npy_of("(1,)"))
    content = bytearray(packed.getvalue())
    change(content, content.index(b"PK\1\2"))
    return bytes(content)


def _other_version(content: bytearray, at: int) -> None:
    content[at + 6] = 85


def _other_name(content: bytearray, at: int) -> None:
    struct.pack_into("<H", content, at + 8, 0x800)
    content[at + 46] = 0x8A


FINDS: dict[str, tuple[str, bytes]] = {
    "a key that takes the stack": ("array_pickles", _NESTED_KEY),
    "a shape that takes Python's memory": ("npy", npy_of("-" * 9000 + "1")),
    "many values of no size": ("npy", npy_of("(9999999999999,)", "|V0")),
    "strides of no elements": ("safetensors", empty_tensor()),
    "an archive of a later version": ("npz", _zip_with(_other_version)),
    "a name in an archive that is not UTF-8": ("npz", _zip_with(_other_name)),
    "titles of spaces in quotes": ("tables", b'"\r"\r\n&\n&'),
    "a tokenizer without a token for unknown words": ("tokenizers", without_unknown()),
    "a number of five thousand digits in a line": ("tables", b'{"text": ' + b"1" * 5000 + b"}\n"),
    "a whole number that is none": ("yaml", b"a: !!int x\n"),
    "a time that is none": ("yaml", b"a: !!timestamp 1\n"),
    "a number that Python does not print": ("yaml", b"a: 0x" + b"1" * 5000 + b"\n"),
    "a name in the metadata of an ONNX file that is not UTF-8": ("onnx", odd_metadata()),
    "a domain in an ONNX file that is not UTF-8": ("onnx", odd_domain()),
    "an empty title in quotes before the titles": ("tables", b'""\r\n\r&\n&'),
}

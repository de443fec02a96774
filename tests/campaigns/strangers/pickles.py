"""Pickles that call, grow or hide something."""

from __future__ import annotations

import builtins
import functools
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

from campaigns.strangers.kind import CKPT, LOAD, NETWORK, SECRET_NAME, TITLE, Bench, Hostile, config, part
from campaigns.strangers.torch_zip import Call, pack, torch_entries
from campaigns.strangers.values import MLP, calling, making, normalize, ordered, touch


def call(function: Any, *arguments: Any) -> Hostile:
    """Make a checkpoint whose pickle calls a function; an argument that is one is given the canary's path."""

    def write(bench: Bench) -> None:
        given = [argument(bench.canary) if callable(argument) else argument for argument in arguments]
        bench.save(model=Call(function, *given))

    return Hostile(write)


def opcodes(write: Callable[[bytes], bytes]) -> Hostile:
    """Make a checkpoint of a pickle written by hand, out of the shell command that creates the canary."""
    return Hostile(lambda bench: pack(bench.path, {"data.pkl": write(touch(bench.canary).encode()), "version": b"3\n"}))


def quoted(shell: bytes) -> bytes:
    """Return a text as the opcode S takes it."""
    return repr(shell.decode()).encode() + b"\n"


def counted(shell: bytes) -> bytes:
    """Return a text with its length in front, as the opcode X takes it."""
    return struct.pack("<I", len(shell)) + shell


def call_torch_load(bench: Bench) -> None:
    """Make a checkpoint that has torch read another file, which runs code."""
    other = bench.path.with_name("other.pkl")
    other.write_bytes(calling(bench))
    bench.save(model=Call(functools.partial(torch.load, weights_only=False), str(other)))


def save_copies(bench: Bench) -> None:
    """Make a checkpoint that has a dictionary copied."""
    entries = dict.fromkeys(range(10_000))
    bench.save(training=bench.good["training"] | {"more": [Call(OrderedDict, entries) for _ in range(30)]})


def save_alike(bench: Bench) -> None:
    """Make a checkpoint with numbers for keys that all have the same hash."""
    keys = [number * sys.hash_info.modulus for number in range(1, 4001)]
    bench.save(training=bench.good["training"] | {"more": dict.fromkeys(keys)})


PROTOCOL = b"\x80\2"
REBUILDING = {
    "sparse": torch._utils._rebuild_sparse_tensor,
    "quantized": torch._utils._rebuild_qtensor,
    "nested": torch._utils._rebuild_nested_tensor,
    "meta": torch._utils._rebuild_meta_tensor_no_storage,
    "wrapped": torch._utils._rebuild_wrapper_subclass,
    "numpy": torch._utils._rebuild_device_tensor_from_numpy,
}


def edited(change: Callable[[bytes], bytes]) -> Hostile:
    """Make a whole checkpoint with another pickle made of its own."""

    def write(bench: Bench) -> None:
        entries = torch_entries(bench.good)
        pack(bench.path, entries | {"data.pkl": change(entries["data.pkl"])})

    return Hostile(write)


def built(instructions: bytes) -> Hostile:
    """Make a whole checkpoint in which something is done to its first tensor."""

    def change(data: bytes) -> bytes:
        names = [(code.name, at or 0) for code, _, at in pickletools.genops(data)]
        begin = data.index(b"_rebuild_tensor_v2")
        # The first of them makes the mapping of its hooks.
        _, end = [at for name, at in names if name == "REDUCE" and at > begin][:2]
        return data[: end + 1] + instructions + data[end + 1 :]

    return edited(change)


PICKLES = {
    "os.system": call(os.system, touch),
    "eval": call(builtins.eval, lambda canary: f"open({str(canary)!r}, 'w')"),
    "exec": call(builtins.exec, lambda canary: f"open({str(canary)!r}, 'w')"),
    "subprocess.run": call(subprocess.run, lambda canary: ["touch", str(canary)]),
    "open": call(builtins.open, str, "w"),
    "os.mkdir": call(os.mkdir, str),
    "a partial": call(functools.partial(os.system), touch),
    "torch.load": Hostile(call_torch_load),
    "torch.save": call(torch.save, 1, str),
    "getattr": opcodes(
        lambda shell: b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S%stR." % quoted(shell)
    ),
    "GLOBAL": opcodes(lambda shell: b"cos\nsystem\n(S%stR." % quoted(shell)),
    "INST": opcodes(lambda shell: b"(S%sios\nsystem\n." % quoted(shell)),
    "OBJ": opcodes(lambda shell: b"(cos\nsystem\nS%so." % quoted(shell)),
    "STACK_GLOBAL": opcodes(lambda shell: b"\x80\x04\x8c\x02os\x8c\x06system\x93X%s\x85R." % counted(shell)),
    "a name with dots": opcodes(
        lambda shell: b"\x80\x04\x8c\x17torch.nn.modules.module\x8c\x0ftorch.os.system\x93X%s\x85R." % counted(shell)
    ),
    "torch.load by another name": opcodes(
        lambda shell: b"\x80\x04\x8c\x17torch.nn.modules.module\x8c\x0atorch.load\x93X%s\x85R." % counted(shell)
    ),
    "a module without a name": opcodes(lambda _: b"\x80\x04\x8c\x00\x8c\x00\x93."),
    "a name that is a number": opcodes(lambda _: b"\x80\x04K\x01K\x02\x93."),
    "NEWOBJ": opcodes(lambda _: b"\x80\x02cnnrun_canary\nCanary\n)\x81."),
    "NEWOBJ_EX": opcodes(lambda _: b"\x80\x04\x8c\x0cnnrun_canary\x8c\x06Canary\x93)}\x92."),
    "__setstate__": opcodes(lambda _: b"\x80\x02cnnrun_canary\nCanary\n)\x81K\x01b."),
    "copyreg": opcodes(lambda _: b"ccopyreg\n_reconstructor\n(cnnrun_canary\nCanary\ncbuiltins\nobject\nNtRI1\nb."),
    "an extension": opcodes(lambda _: b"\x80\x02\x82\x01."),
    "a function out of the memo": opcodes(lambda shell: b"cos\nsystem\np7\n0g7\n(S%stR." % quoted(shell)),
    # Half a gigabyte, out of eight bytes; 2^32 would be too much for a machine that does not refuse it.
    "a memo of 2^25 entries": opcodes(lambda _: b"\x80\x02]r" + struct.pack("<I", 2**25) + b"."),
    "an array of 2^40 bytes": opcodes(lambda _: b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x."),
    "a text of 2^62 bytes": opcodes(lambda _: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x."),
    "a frame of 2^62 bytes": opcodes(lambda _: b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."),
    **{f"a {kind} tensor": call(rebuild, *[None] * 4) for kind, rebuild in REBUILDING.items()},
    "a persistent id of protocol 0": opcodes(lambda shell: b"P" + shell + b"\n."),
    "a storage from bytes": opcodes(lambda shell: b"ctorch.storage\n_load_from_bytes\n(S%stR." % quoted(shell)),
    "a storage type that is called": opcodes(lambda _: b"ctorch\nFloatStorage\n(I1099511627776\ntR."),
    # Six bytes for each copy: a file of 16 MB could ask for terabytes.
    "30 copies of 10,000 entries": Hostile(save_copies),
    # Each key is compared with all before it: a file of 16 MB would take hours. No key is as good as no such file.
    "4,000 keys of one hash": Hostile(save_alike, codes=(0, 4)),
    # To hash it, or to compare it, goes deeper than the machine's stack.
    "a key nested a million deep": opcodes(lambda _: PROTOCOL + b"})" + b"\x85" * 10**6 + b"Ns."),
    "a key nested a million deep, by a memo": opcodes(lambda _: PROTOCOL + b"})" + b"q\1h\1\x85" * 3 * 10**5 + b"Ns."),
    "a key of 2^100 texts": opcodes(lambda _: PROTOCOL + b"}U\1x" + b"q\1h\1\x86" * 100 + b"Ns."),
    "tuples nested a million deep": opcodes(lambda _: PROTOCOL + b")" + b"\x85" * 10**6 + b"."),
    "lists nested a million deep": opcodes(lambda _: PROTOCOL + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."),
    "mappings nested a million deep": opcodes(lambda _: PROTOCOL + b"}" + b"N}" * 10**6 + b"s" * 10**6 + b"."),
    "16 million marks": opcodes(lambda _: PROTOCOL + b"(" * (2**24 - 1000) + b"."),
    "16 million lists": opcodes(lambda _: PROTOCOL + b"]" * (2**24 - 1000) + b"."),
    "a tensor that is built anew": built(b"}(K\1K\2ub"),
    "a tensor whose items are set": built(b"K\0K\1s"),
    "a tensor that is appended to": built(b"K\1a"),
    "a tensor that is called": built(b")R"),
    "a pickle behind the pickle": edited(lambda data: data + pickle.dumps(Call(os.getcwd), 2)),
    "an instruction that torch lacks": edited(lambda data: b"(l0" + data),
    "an instruction that torch lacks, behind the protocol": edited(lambda data: PROTOCOL + b"(l0" + data[2:]),
    "a protocol that torch lacks": edited(lambda data: b"\x80\5" + data[2:]),
    "a class that commands the terminal": opcodes(
        lambda _: b"\x80\x04\x8c\x02os\x8c" + bytes([len(TITLE)]) + TITLE.encode() + b"\x93."
    ),
    # To leave such a method out is as good as to refuse it.
    "a checkpoint with another get": Hostile(
        lambda bench: torch.save(ordered(bench.good, get=1), bench.path), codes=(0, 4)
    ),
    "a config with other values": part(config=lambda _: ordered({}, values=1)),
    "a network that hides its values": config(
        lambda canary: {"model": ordered(MLP | {"hidden": [making(canary)]}, values=OrderedDict)}, NETWORK
    ),
    "a preprocessing that hides its values": part(
        (CKPT, LOAD), preprocessing=lambda canary: ordered(normalize(std=[0.5, making(canary)]), values=OrderedDict)
    ),
    "a name that hides": config(
        lambda _: {"data/name": ordered({"x": f"${{oc.env:{SECRET_NAME}}}"}, values=OrderedDict)}
    ),
}

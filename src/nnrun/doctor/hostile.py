"""A campaign against the promise that a stranger's checkpoint cannot run code: a table of hostile files.

Each of them is harmless where it succeeds: all that it then does is to create one file, the canary, in the arena.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import pickle
import random
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

import nnrun
from nnrun.archive import MAX_PICKLE_BYTES
from nnrun.core.checkpoint import load_payload
from nnrun.doctor.campaign import Arena, Broken, Result, counting
from nnrun.doctor.damage import WORDS, hear, prepare
from nnrun.errors import BUG, NnrunError
from nnrun.files import write_json
from nnrun.manifest import FOLDER_NAME, MANIFEST_NAME, Entry, Manifest

# Where a stranger's file is read: alone, or in a run directory whose manifest states its sha256.
CKPT, INIT_FROM, LOAD, RUN, RESUME = "ckpt=FILE", "init_from=FILE", "nnrun.load", "ckpt=RUN", "resume=RUN"
EVERYWHERE = (CKPT, INIT_FROM, LOAD, RUN, RESUME)
# Some parts of a checkpoint are not read everywhere.
CONFIG, NETWORK, SHOWN, RUNS = (CKPT, RUN, RESUME), (CKPT, RUN, RESUME, LOAD), (CKPT, RUN, LOAD), (RUN, RESUME)
# A refusal takes a tenth of a second and no memory to speak of, and its message is of one to a few lines.
MAX_SECONDS, MAX_GROWTH_BYTES, MAX_SAID = 10.0, 2**28, 20_000
WANTS_MEMORY = ("allocate", "out of memory", "MemoryError")
# It would set a terminal's title.
TITLE = "\x1b]0;canary\a"
SECRET_NAME, SECRET = "NNRUN_CANARY", "a-secret-out-of-the-environment"
# Importing this module, or making anything of its class, creates the canary beside it.
MODULE_NAME = "nnrun_canary"
MODULE = """
from pathlib import Path
from torch import nn
sing = (Path(__file__).parent / "canary").touch
sing()
class Canary(nn.Module):
    def __init__(self, *_, **__): sing()
    def __setstate__(self, _): sing()
    def load(self): sing()
"""


@dataclass(frozen=True)
class Bench:
    """Where a hostile file is made: its path, the file that it would create, and a whole checkpoint to start from."""

    path: Path
    canary: Path
    good: dict[str, Any]

    def save(self, **changes: Any) -> None:
        """Write the whole checkpoint with some of its parts changed."""
        torch.save(self.good | changes, self.path)


@dataclass(frozen=True)
class Hostile:
    """How a hostile file is written, where it would be read, and the exit codes that may refuse it.

    `forge` changes the run directory around it, given the path of its manifest; `name` is the file's, where it matters.
    """

    write: Callable[[Bench], object]
    places: Sequence[str] = EVERYWHERE
    codes: tuple[int, ...] = (4,)
    forge: Callable[[Path], object] = lambda _: None
    name: str = "stranger.ckpt"


def hostile_files(arena: Arena, count: int) -> Result:
    """Have the files of the table read, in `count` tries at most: each of them once, and then in other places too."""
    result, good = Result("hostile files"), functools.cache(lambda: load_payload(prepare(arena).best))
    for number, (name, place) in enumerate(itertools.islice(tries(arena.draw), count)):
        folder = arena.folder.resolve() / f"stranger{number}"
        with counting(result, f"{name}, {place}"):
            _try(arena, FILES[name], place, Bench(folder / FILES[name].name, folder / "canary", good()))
    return result


def tries(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yield every file with every place where it would be read, in any order; each file once before any comes twice.

    Most begin with nnrun.load, where they can: that takes milliseconds, and a command a tenth of a second.
    """
    orders: list[tuple[str, list[str]]] = []
    for name in draw.sample([*FILES], len(FILES)):
        places = draw.sample(FILES[name].places, len(FILES[name].places))
        orders.append((name, sorted(places, key=lambda place: place != LOAD) if len(orders) % 8 else places))
    for turn in range(len(EVERYWHERE)):
        yield from ((name, places[turn]) for name, places in orders if turn < len(places))


def _try(arena: Arena, hostile: Hostile, place: str, bench: Bench) -> None:
    """Write a hostile file and have it read; raise Broken unless it is refused as promised."""
    folder = bench.path.parent
    folder.mkdir()
    (folder / f"{MODULE_NAME}.py").write_text(MODULE)
    hostile.write(bench)
    file = _forge_run(bench.path, hostile) if place in RUNS else bench.path
    before = _content(file)
    with _surroundings(folder), _watch() as excesses:
        code, said = hear(folder, lambda: _read(arena, place, file))
    what = f"it ends with {code}, and says: {said.strip()[-600:] or 'nothing'}"
    if bench.canary.exists():
        raise Broken("ran", f"it made the canary; {what}")
    if SECRET in said or any(SECRET.encode() in _content(path) for path in folder.rglob("*")):
        raise Broken("ran", f"it read the environment; {what}")
    if code not in hostile.codes or "Traceback" in said:
        raise Broken("unexplained", f"{' or '.join(map(str, hostile.codes))} was promised; {what}")
    if _content(file) != before:
        raise Broken("lost", f"the file was changed; {what}")
    if len(said) > MAX_SAID:
        excesses.append(f"a message of {len(said):,} characters")
    if TITLE in said:
        excesses.append("a message that commands the terminal")
    if any(words in said for words in WANTS_MEMORY):
        excesses.append("more memory asked for than there is")
    if excesses:
        raise Broken("unexplained", f"{', '.join(excesses)}; {what}")
    shutil.rmtree(folder)


def _read(arena: Arena, place: str, file: Path) -> int:
    """Have a file, or the run directory that it is in, read; return the exit code that the command line would give."""
    run, new = file.parent.parent, f"hydra.run.dir={Path.cwd() / 'new'}"
    commands = {
        CKPT: [f"ckpt={file}", new],
        INIT_FROM: [*WORDS, f"init_from={file}", new],
        RUN: [f"ckpt={run}", new],
        RESUME: [f"resume={run}"],
    }
    code = 0
    try:
        if place == LOAD:
            nnrun.load(file)
        else:
            code = arena.main(commands[place])
    except NnrunError as error:
        sys.stderr.write(str(error))
        code = error.exit_code
    except TooLong:
        sys.stderr.write(f"nothing within {MAX_SECONDS:g} s")
        code = -signal.SIGALRM
    except Exception:
        traceback.print_exc()
        code = BUG
    return code


def _forge_run(path: Path, hostile: Hostile) -> Path:
    """Put a checkpoint into a run directory whose manifest vouches for it; return where it lies there."""
    content = _content(path)
    sha256, folder = hashlib.sha256(content).hexdigest(), path.parent / "run" / FOLDER_NAME
    folder.mkdir(parents=True)
    entry = Entry(f"step-00000008-{sha256[:8]}.ckpt", sha256, len(content), 8)
    path.rename(folder / entry.name)
    write_json(folder / MANIFEST_NAME, Manifest((entry,), entry.name, entry.name).to_json())
    hostile.forge(folder / MANIFEST_NAME)
    return folder / entry.name


def _content(path: Path) -> bytes:
    """Return the bytes of a file; nothing of what is none, such as a pipe, which would never end."""
    return path.read_bytes() if path.is_file() else b""


class TooLong(BaseException):
    """Something takes too long. No Exception: what catches those must not swallow it."""


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


@contextlib.contextmanager
def _watch() -> Iterator[list[str]]:
    """Interrupt the block where it hangs; yield a list of what it uses too much of, filled in at its end."""
    excesses: list[str] = []
    # Signals come to the main thread alone.
    is_heard = threading.current_thread() is threading.main_thread()
    earlier = signal.signal(signal.SIGALRM, _give_up) if is_heard else None
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS if is_heard else 0)
    peak_bytes, begun = _peak_bytes(), time.monotonic()
    try:
        yield excesses
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_heard:
            signal.signal(signal.SIGALRM, earlier)
    if time.monotonic() - begun > MAX_SECONDS:
        excesses.append(f"more than {MAX_SECONDS:g} s")
    if _peak_bytes() - peak_bytes > MAX_GROWTH_BYTES:
        excesses.append(f"{_peak_bytes() - peak_bytes:,} bytes of memory")


def _peak_bytes() -> int:
    """Return the most memory that this process has ever used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def _surroundings(folder: Path) -> Iterator[None]:
    """Set a secret in the environment, let modules in a folder be found, and undo what a stranger may change."""
    path, num_threads = list(sys.path), torch.get_num_threads()
    os.environ[SECRET_NAME] = SECRET
    sys.path.append(str(folder))
    try:
        yield
    finally:
        del os.environ[SECRET_NAME]
        sys.path[:] = path
        sys.modules.pop(MODULE_NAME, None)
        torch.set_num_threads(num_threads)


# Out of what hostile files are made.

STORAGES = {
    torch.float32: torch.FloatStorage,
    torch.float64: torch.DoubleStorage,
    torch.int64: torch.LongStorage,
    torch.bool: torch.BoolStorage,
}
MLP = {"_target_": "nnrun.models.mlp.MLP", "in_shape": [1, 28, 28], "num_classes": 10, "hidden": [32], "dropout": 0.0}
FOREIGN = {"_target_": f"{MODULE_NAME}.Canary"}
PICKLE = b"/data.pkl"
# A zip64 record and its locator, full of the largest numbers.
ZIP64 = b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\xff" * 16
MNIST = {"_target_": "nnrun.data.mnist.MNIST", "root": "/dev/zero", "download": False}


class Call:
    """An object that pickles as the call of a function; `rest` is what else `__reduce__` may return."""

    def __init__(self, function: Any, *arguments: Any, rest: tuple[Any, ...] = ()) -> None:
        self._reduced = (function, arguments, *rest)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


class _Pickler(pickle.Pickler):
    """Write tensors as torch does; the first one says other things of itself, or of where its bytes are.

    `entries` takes their bytes. A claim, of any kind, is where the bytes are said to be.
    """

    def __init__(self, file: io.BytesIO, claim: Any, said: dict[str, Any]) -> None:
        super().__init__(file, 2)
        self.entries: dict[str, bytes] = {}
        self._claim, self._said = claim, said

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        number, kind = len(self.entries), STORAGES[value.dtype]
        self.entries[f"data/{number}"] = value.numpy().tobytes()
        where: Any = ("storage", kind, str(number), "cpu", value.numel())
        said = {"offset": 0, "size": tuple(value.shape), "stride": value.stride()}
        if number == 0:
            where, said = where if self._claim is None else self._claim, said | self._said
        return torch._utils._rebuild_tensor_v2, (_Storage(where), *said.values(), False, OrderedDict())

    def persistent_id(self, value: Any) -> Any:
        return value.claim if isinstance(value, _Storage) else None


@dataclass(frozen=True)
class _Storage:
    """What pickles as the persistent id by which a checkpoint says where the bytes of a tensor are."""

    claim: Any


def torch_entries(payload: dict[str, Any], claim: Any = None, **said: Any) -> dict[str, bytes]:
    """Return the entries of the zip file that torch would write, but for what its first tensor says."""
    file = io.BytesIO()
    pickler = _Pickler(file, claim, said)
    pickler.dump(payload)
    return {"data.pkl": file.getvalue(), "byteorder": b"little", **pickler.entries, "version": b"3\n"}


def pack(path: Path, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file; its names begin with `archive/`, as torch's do, unless they begin with `/`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name if name.startswith("/") else f"archive/{name}", content)


def touch(canary: Path) -> str:
    """Return the shell command that creates the canary."""
    return f"touch {shlex.quote(str(canary))}"


def ordered(items: Mapping[str, Any], **attributes: Any) -> Call:
    """Return an OrderedDict, which a checkpoint may hold, some of whose methods are something else (BUILD)."""
    return Call(OrderedDict, rest=(attributes, None, iter(items.items())))


def bomb(levels: int) -> list[Any]:
    """Return a list that is small here, and has 10^levels values when it is written out."""
    value: list[Any] = ["x"] * 10
    for _ in range(levels - 1):
        value = [value] * 10
    return value


def deep(levels: int) -> list[Any]:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def holding_itself(width: int) -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.extend([value] * width)
    return value


def making(canary: Path) -> dict[str, Any]:
    """Return a section that creates the canary when it is instantiated; no list of evil names has this one."""
    return {"_target_": "torch.save", "obj": 1, "f": str(canary)}


def normalize(**changes: Any) -> dict[str, Any]:
    """Return a preprocessing."""
    return {"_target_": "nnrun.data.normalize.Normalize", "mean": [0.5], "std": [0.5]} | changes


def patched(content: bytes, offset: int, value: bytes, name: bytes = b"") -> bytes:
    """Return a zip file, bytes in its directory replaced: in every entry whose name ends so.

    The offsets: 8 flags, 10 compression, 20 compressed size, 24 size, 42 where the entry lies.
    """
    changed, start = bytearray(content), content.find(b"PK\x01\x02")
    while start >= 0:
        length = struct.unpack_from("<H", content, start + 28)[0]
        if content[start + 46 : start + 46 + length].endswith(name):
            changed[start + offset : start + offset + len(value)] = value
        start = content.find(b"PK\x01\x02", start + 46)
    return bytes(changed)


def two_archives(shown: bytes, hidden: bytes) -> bytes:
    """Return a zip file with two directories of as many bytes: one lies where the last record states, one before it.

    Who goes by the statement reads `hidden`; who looks in front of the record reads `shown`.
    """
    starts = [content.index(b"PK\x01\x02") for content in (shown, hidden)]
    ends = [content.rindex(b"PK\x05\x06") for content in (shown, hidden)]
    directory = bytearray(shown[starts[0] : ends[0]])
    assert len(directory) == ends[1] - starts[1], "entries of the same names"
    assert starts[0] <= starts[1], "offsets are not negative"
    entry = 0
    while entry >= 0:
        # Offsets count from where the directory would be, were the statement true of it.
        (offset,) = struct.unpack_from("<I", directory, entry + 42)
        struct.pack_into("<I", directory, entry + 42, offset + starts[1] - starts[0])
        entry = directory.find(b"PK\x01\x02", entry + 46)
    record = bytearray(hidden[ends[1] : ends[1] + 22])
    return hidden[: ends[1]] + shown[: starts[0]] + bytes(directory) + bytes(record)


# What a hostile file is, in a word: each of these makes one, so that a line in the table adds it.


def part(places: Sequence[str] = EVERYWHERE, codes: Sequence[int] = (4,), **changes: Callable[[Path], Any]) -> Hostile:
    """Make a checkpoint with other parts, made with the canary's path."""
    return Hostile(
        lambda bench: bench.save(**{key: make(bench.canary) for key, make in changes.items()}), places, tuple(codes)
    )


def without(key: str, places: Sequence[str]) -> Hostile:
    """Make a checkpoint that lacks a part."""
    return Hostile(lambda bench: torch.save({k: v for k, v in bench.good.items() if k != key}, bench.path), places)


def config(
    change: Callable[[Path], Mapping[str, Any]], places: Sequence[str] = CONFIG, codes: Sequence[int] = (2, 4)
) -> Hostile:
    """Make a checkpoint with other settings: by key, as `model/hidden`, made with the canary's path."""

    def write(bench: Bench) -> None:
        # No two sections share anything.
        changed = json.loads(json.dumps(bench.good["config"]))
        for key, value in change(bench.canary).items():
            *sections, leaf = key.split("/")
            functools.reduce(dict.__getitem__, sections, changed)[leaf] = value
        bench.save(config=changed)

    return Hostile(write, places, tuple(codes))


def model(**section: Any) -> Hostile:
    """Make a checkpoint with another section of the network."""
    return config(lambda _: {f"model/{key}": value for key, value in section.items()}, NETWORK)


def named(text: str) -> Hostile:
    """Make a checkpoint whose data has another name."""
    return config(lambda _: {"data/name": text}, EVERYWHERE, (4,))


def training(codes: Sequence[int] = (4,), **changes: Any) -> Hostile:
    """Make a checkpoint with another state of its training; of what is None, nothing."""

    def write(bench: Bench) -> None:
        state = bench.good["training"] | changes
        bench.save(training={key: value for key, value in state.items() if key not in changes or value is not None})

    return Hostile(write, (RESUME,), tuple(codes))


def progress(places: Sequence[str] = CONFIG, **changes: Any) -> Hostile:
    """Make a checkpoint whose training stands at another place."""

    def write(bench: Bench) -> None:
        state = bench.good["training"]
        bench.save(training=state | {"progress": state["progress"] | changes})

    return Hostile(write, places)


def weights(change: Callable[[dict[str, Any]], Any]) -> Hostile:
    """Make a checkpoint with other weights."""
    return Hostile(lambda bench: bench.save(model=change(dict(bench.good["model"]))))


def call(function: Any, *arguments: Any) -> Hostile:
    """Make a checkpoint whose pickle calls a function; an argument that is one is given the canary's path."""

    def write(bench: Bench) -> None:
        given = [argument(bench.canary) if callable(argument) else argument for argument in arguments]
        bench.save(model=Call(function, *given))

    return Hostile(write)


def opcodes(write: Callable[[bytes], bytes]) -> Hostile:
    """Make a checkpoint of a pickle written by hand, out of the shell command that creates the canary."""
    return Hostile(lambda bench: pack(bench.path, {"data.pkl": write(touch(bench.canary).encode()), "version": b"3\n"}))


def raw(content: Callable[[Bench], bytes]) -> Hostile:
    """Make a file of any bytes."""
    return Hostile(lambda bench: bench.path.write_bytes(content(bench)))


def zipped(change: Callable[[bytes], bytes], codes: Sequence[int] = (4,)) -> Hostile:
    """Make a checkpoint the zip file of which is changed."""

    def write(bench: Bench) -> None:
        pack(bench.path, torch_entries(bench.good))
        bench.path.write_bytes(change(bench.path.read_bytes()))

    return Hostile(write, codes=tuple(codes))


def packed(entries: Callable[[Bench], Mapping[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Hostile:
    """Make a zip file of any entries."""
    return Hostile(lambda bench: pack(bench.path, entries(bench), compression))


def tensor(claim: Any = None, **said: Any) -> Hostile:
    """Make a checkpoint with a tensor that lies, about where it is or about itself."""
    return packed(lambda bench: torch_entries(bench.good, claim, **said))


def manifest(change: Callable[[str], str]) -> Hostile:
    """Make a run directory of a whole checkpoint and a hostile manifest."""
    return Hostile(Bench.save, RUNS, forge=lambda path: path.write_text(change(path.read_text())))


def call_torch_load(bench: Bench) -> None:
    """Make a checkpoint that has torch read another file, which runs code."""
    other = bench.path.with_name("other.pkl")
    other.write_bytes(calling(bench))
    bench.save(model=Call(functools.partial(torch.load, weights_only=False), str(other)))


def add_twice(bench: Bench) -> None:
    """Make a zip file in which the pickle comes twice: a whole one, and one that calls."""
    evil = calling(bench)
    bench.save()
    with zipfile.ZipFile(bench.path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        archive.writestr(name, evil)


def add_entry(name: Callable[[Bench], str], content: Callable[[Bench], bytes], codes: Sequence[int] = (4,)) -> Hostile:
    """Make a checkpoint with one more entry; torch names the others `stranger/...`, as the file."""

    def write(bench: Bench) -> None:
        bench.save()
        with zipfile.ZipFile(bench.path, "a") as archive:
            archive.writestr(name(bench), content(bench))

    return Hostile(write, codes=tuple(codes))


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


def save_two(bench: Bench, hidden: bytes) -> None:
    """Make a zip file of two archives: a whole checkpoint, and one with another pickle."""
    entries = torch_entries(bench.good)
    archives = []
    for data in (entries["data.pkl"], hidden.ljust(len(entries["data.pkl"]), b".")):
        pack(bench.path, entries | {"data.pkl": data})
        archives.append(bench.path.read_bytes())
    bench.path.write_bytes(two_archives(*archives))


def save_copies(bench: Bench) -> None:
    """Make a checkpoint that has a dictionary copied."""
    entries = dict.fromkeys(range(10_000))
    bench.save(training=bench.good["training"] | {"more": [Call(OrderedDict, entries) for _ in range(30)]})


def save_alike(bench: Bench) -> None:
    """Make a checkpoint with numbers for keys that all have the same hash."""
    keys = [number * sys.hash_info.modulus for number in range(1, 4001)]
    bench.save(training=bench.good["training"] | {"more": dict.fromkeys(keys)})


def save_deep(bench: Bench) -> None:
    """Make a checkpoint in whose config a hundred thousand lists are in each other: no pickler writes that."""
    data = pickle.dumps(bench.good | {"model": {}, "training": {}, "config": "here"}, 2)
    lists = b"]" * 10**5 + b"a" * (10**5 - 1)
    pack(bench.path, {"data.pkl": data.replace(b"X\4\0\0\0here", lists), "version": b"3\n"})


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


def called(bench: Bench) -> dict[str, bytes]:
    """Return the entries of a zip file whose pickle creates the canary."""
    return {"data.pkl": calling(bench), "version": b"3\n"}


def make_pipe(path: Path) -> None:
    """Put a pipe in the place of a file: who opens it waits for ever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def in_pipe(canary: Path) -> dict[str, Any]:
    """Return a data section whose folder is a pipe."""
    root = canary.with_name("pipe")
    make_pipe(root)
    return {"data/root": str(root), "data/dataset": MNIST | {"root": str(root)}}


def npy(bench: Bench) -> bytes:
    """Return a numpy file of objects, which are a pickle."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + calling(bench)


def calling(bench: Bench, protocol: int = 2) -> bytes:
    """Return a pickle that creates the canary."""
    return pickle.dumps(Call(os.system, touch(bench.canary)), protocol)


def set_weight(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the change of weights by which the first number of the first is another."""

    def change(weights: dict[str, Any]) -> dict[str, Any]:
        name, weight = next(iter(weights.items()))
        changed = weight.clone()
        changed.view(-1)[0] = value
        return weights | {name: changed}

    return change


def forge_json(**changes: Any) -> Hostile:
    """Make a run directory the manifest of which says other things of its only file."""

    def change(text: str) -> str:
        value = json.loads(text)
        # It vouches for itself only where it says so.
        del value["sha256"]
        value["files"][0] |= changes
        if "name" in changes:
            value["best"] = value["last"] = changes["name"]
        return json.dumps(value)

    return manifest(change)


def beside(name: str, write: Callable[[Path], object]) -> Hostile:
    """Make a run directory of a whole checkpoint and another file that `resume=` reads or writes.

    The training may go on, or be refused: by the machine's word where the file is none.
    """
    return Hostile(Bench.save, (RESUME,), (0, 4, 5), forge=lambda path: write(path.parent.parent / name))


def link_to_canary(path: Path) -> None:
    """Make a link to the canary, which is not there yet: whoever writes through it creates it."""
    path.symlink_to(path.parent.parent / "canary")


def quoted(shell: bytes) -> bytes:
    """Return a text as the opcode S takes it."""
    return repr(shell.decode()).encode() + b"\n"


def counted(shell: bytes) -> bytes:
    """Return a text with its length in front, as the opcode X takes it."""
    return struct.pack("<I", len(shell)) + shell


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
    "a persistent id of protocol 0": opcodes(lambda shell: b"P" + shell + b"\n."),
    "a storage from bytes": opcodes(lambda shell: b"ctorch.storage\n_load_from_bytes\n(S%stR." % quoted(shell)),
    "a storage type that is called": opcodes(lambda _: b"ctorch\nFloatStorage\n(I1099511627776\ntR."),
    # Six bytes for each copy: a file of 16 MB could ask for terabytes.
    "30 copies of 10,000 entries": Hostile(save_copies),
    # Each key is compared with all before it: a file of 16 MB would take hours.
    "4,000 keys of one hash": Hostile(save_alike),
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
ZIPS = {
    "the pickle twice": Hostile(add_twice),
    "a second pickle": add_entry(lambda _: "stranger/more/data.pkl", calling),
    "a pickle in capitals": add_entry(lambda _: "stranger/DATA.PKL", calling),
    # Nothing is unpacked: to leave such an entry alone is as good as to refuse it.
    "an absolute path": add_entry(lambda bench: str(bench.canary), lambda _: b"", (0, 4)),
    "a path that climbs": add_entry(lambda _: "../canary", lambda _: b"", (0, 4)),
    "a pickle of another name": packed(lambda bench: {"xdata.pkl": calling(bench), "version": b"3"}),
    "compressed": packed(lambda bench: torch_entries(bench.good), zipfile.ZIP_DEFLATED),
    "a deflate bomb": packed(lambda bench: torch_entries(bench.good) | {"data/0": bytes(2**26)}, zipfile.ZIP_DEFLATED),
    "a pickle of 100 MB, it says": zipped(
        lambda content: patched(content, 20, struct.pack("<II", *[10**8] * 2), PICKLE)
    ),
    "a pickle of 10 bytes, it says": zipped(lambda content: patched(content, 20, struct.pack("<II", 10, 10), PICKLE)),
    "a pickle too long": packed(lambda _: {"data.pkl": b"N" * (MAX_PICKLE_BYTES + 1) + b"."}),
    "entries of 2 GB, they say": zipped(lambda content: patched(content, 20, struct.pack("<II", *[2**31] * 2))),
    "entries in one place": zipped(lambda content: patched(content, 42, struct.pack("<I", 0))),
    "entries behind the end": zipped(lambda content: patched(content, 42, struct.pack("<I", 2**31))),
    "an encrypted pickle": zipped(lambda content: patched(content, 8, b"\1\0", PICKLE)),
    "an unknown compression": zipped(lambda content: patched(content, 10, b"\x63\0", PICKLE)),
    "zip64 nonsense": zipped(lambda content: content[:-22] + ZIP64 + content[-22:]),
    "a directory of 4 GB, it says": zipped(lambda content: content[:-14] + b"\xff" * 12 + content[-2:]),
    # What is in the zip file is whole: to read it is as good as to refuse it.
    "something in front": zipped(lambda content: b"#!/bin/sh\n" + content, (0, 4)),
    "something behind": zipped(lambda content: content + b"\n#", (0, 4)),
    "5,000 entries": packed(lambda bench: {f"data/{number}": b"" for number in range(5_000)} | called(bench)),
    "two archives, one without parts": Hostile(lambda bench: save_two(bench, pickle.dumps({}, 2))),
    "two archives, one without progress": Hostile(
        lambda bench: save_two(bench, torch_entries(bench.good | {"training": {}})["data.pkl"])
    ),
    "two archives, one that calls": Hostile(lambda bench: save_two(bench, calling(bench))),
    "a version of tomorrow": packed(lambda bench: torch_entries(bench.good) | {"version": b"999999999999"}),
}
TENSORS = {
    "a storage of 2^40": tensor(("storage", torch.FloatStorage, "0", "cpu", 2**40)),
    "a storage of -1": tensor(("storage", torch.FloatStorage, "0", "cpu", -1)),
    "a storage of NaN": tensor(("storage", torch.FloatStorage, "0", "cpu", float("nan")), size=(2**40,), stride=(1,)),
    "a storage of a text": tensor(("storage", torch.FloatStorage, "0", "cpu", "1")),
    "a storage elsewhere": tensor(("storage", torch.FloatStorage, "../../canary", "cpu", 1)),
    "a storage that is a list": tensor(("storage", torch.FloatStorage, [], "cpu", 1)),
    "a storage of another kind": tensor(("module", nn.Linear, "0", "cpu", 1)),
    "a storage without a type": tensor(("storage", None, "0", "cpu", 1)),
    "a storage that is a tuple": weights(
        lambda model: dict.fromkeys(
            model, Call(torch._utils._rebuild_tensor_v2, (2**40, 4), 0, (2**40,), (1,), False, {})
        )
    ),
    "a persistent id that is a text": tensor("storage"),
    "a persistent id too short": tensor(("storage",)),
    "2^40 elements": tensor(size=(2**20, 2**20), stride=(0, 0)),
    "2^200 elements": tensor(size=(2**100, 2**100), stride=(0, 0)),
    "a negative size": tensor(size=(-32, 784)),
    "a size of NaN": tensor(size=(float("nan"), 784)),
    "a size of texts": tensor(size=("32", "784")),
    "a negative stride": tensor(stride=(-784, 1)),
    "a stride beyond the end": tensor(stride=(784, 2)),
    "an offset beyond the end": tensor(offset=1),
    "a negative offset": tensor(offset=-1),
    "100,000 dimensions": tensor(size=(1,) * 10**5, stride=(1,) * 10**5),
    "NaN": weights(set_weight(float("nan"))),
    "infinity": weights(set_weight(float("inf"))),
    "weights that are numbers": weights(lambda model: dict.fromkeys(model, 1)),
    "weights that are lists": weights(lambda model: {name: weight.tolist() for name, weight in model.items()}),
    "weights without names": weights(lambda model: dict(enumerate(model.values()))),
    "weights of another shape": weights(lambda model: {name: weight[..., :1] for name, weight in model.items()}),
    "weights that command the terminal": weights(lambda model: {TITLE + name: model[name] for name in model}),
    "weights with names of 1 MB": weights(lambda model: {name * 10**5: model[name] for name in model}),
    "no weights": weights(lambda _: {}),
    "weights that hold themselves": weights(lambda model: model | {next(iter(model)): holding_itself(1)}),
}
# What may stand where a class is named: the section that holds it is the network's, which everybody builds.
TARGETS = (
    "os.system",
    "builtins.eval",
    "torch.save",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.modules.module.torch.os.system",
    "torch.hub.load",
    "nnrun.cli.main",
    "nnrun.core.checkpoint.load_payload",
    "nnrun.files.write_text",
    "nnrun_canary.Canary",
    "nnrun.doctor.hostile.Call",
    "nnrun..nnrun_canary.Canary",
    "nnrun.models.mlp.MLP\0",
    "nnrun.models.mlp.\ud800",
    "nnrun.",
    ".",
    "",
)
# What a resolver would act on.
TEXTS = (
    f"${{oc.env:{SECRET_NAME}}}",
    f"a ${{oc.env:{SECRET_NAME},x}} b",
    f"\\${{oc.env:{SECRET_NAME}}}",
    "${oc.create:{_target_: torch.save}}",
    "${oc.decode:'[1]'}",
)
CONFIGS = {
    **{f"a network that is {target!r}": model(_target_=target) for target in TARGETS},
    "a foreign optimizer": config(lambda _: {"optimizer": FOREIGN}),
    "a foreign scheduler": config(lambda _: {"scheduler": FOREIGN}),
    "a foreign loss": config(lambda _: {"loss": FOREIGN}),
    "a foreign data set": config(lambda _: {"data/dataset": FOREIGN}),
    "a foreign export": config(lambda _: {"export": {"x": FOREIGN}}, (RESUME,)),
    "a foreign logger": config(lambda _: {"logger": {"x": FOREIGN}}, (RESUME,)),
    "a foreign preprocessing": part(SHOWN, preprocessing=lambda _: FOREIGN),
    "a foreign class that trusts itself": config(lambda _: {"trust": [MODULE_NAME], "model": FOREIGN}, NETWORK),
    "a target that is a number": model(_target_=3),
    "a target that is a list": model(_target_=["nnrun_canary.Canary"]),
    "no target": config(lambda _: {"model": {}}, NETWORK),
    "a target for the whole": config(making),
    "a made argument": config(lambda canary: {"model/hidden": making(canary)}, NETWORK),
    "a made argument in a list": config(lambda canary: {"model/hidden": [making(canary)]}, NETWORK),
    "a made argument in a tuple": config(lambda canary: {"model/hidden": (making(canary),)}, NETWORK),
    "a made argument of the preprocessing": part(
        (CKPT, RUN, LOAD), preprocessing=lambda canary: normalize(std=[0.5, making(canary)])
    ),
    "a made argument of the preprocessing in a tuple": part(
        (CKPT, RUN, LOAD), preprocessing=lambda canary: normalize(std=(0.5, making(canary)))
    ),
    "_args_": config(lambda canary: {"model/_args_": [making(canary)]}, NETWORK),
    "_args_ in a tuple": config(lambda canary: {"model/_args_": (making(canary),)}, NETWORK),
    "_partial_": model(_partial_=True),
    "_recursive_": config(lambda canary: {"model/_recursive_": False, "model/hidden": [making(canary)]}, NETWORK),
    "_recursive_ that is a section": config(lambda canary: {"model/_recursive_": making(canary)}, NETWORK),
    "_convert_": config(lambda canary: {"model/_convert_": "object", "model/hidden": [making(canary)]}, NETWORK),
    "_instantiator_": model(_instantiator_="torch.save"),
    "_call_": model(_call_="torch.save"),
    **{f"the text {text!r}": named(text) for text in TEXTS},
    "an interpolation for a key": config(lambda _: {f"${{oc.env:{SECRET_NAME}}}": 1}, EVERYWHERE, (4,)),
    "???": model(hidden="???"),
    "lists in each other": config(lambda _: {"model/hidden": deep(100)}, EVERYWHERE, (4,)),
    "100,000 lists in each other": Hostile(save_deep),
    "an alias bomb": config(lambda _: {"model/hidden": bomb(7)}, EVERYWHERE, (4,)),
    "a list that holds itself": config(lambda _: {"model/hidden": holding_itself(1)}, EVERYWHERE, (4,)),
    "a list that holds itself often": config(lambda _: {"model/hidden": holding_itself(10**6)}, EVERYWHERE, (4,)),
    "a list a million times": config(lambda _: {"model/hidden": [["x"] * 10] * 10**6}, EVERYWHERE, (4,)),
    "a text of 1 MB": config(lambda _: {"data/name": "x" * 10**6}, codes=(0, 2, 4)),
    "a key that is a number": config(lambda _: {"data": {1: 2}}),
    "a key that is null": config(lambda _: {"data": {None: 2}}),
    "a key that is a tuple": config(lambda _: {"data": {(1, 2): 2}}),
    "a key of the network that is null": config(lambda _: {"model": {**MLP, None: 2}}, NETWORK),
    "bytes": config(lambda _: {"data/name": b"x"}, EVERYWHERE, (4,)),
    "a set": config(lambda _: {"data/name": {1}}, EVERYWHERE, (4,)),
    "an OrderedDict": config(lambda _: {"data": OrderedDict(name="x")}),
    "a number of 5,000 digits": config(lambda _: {"seed": 10**5000}),
    "a name that is no text": config(lambda _: {"data/name": 3}),
    "a name that cannot be written": config(lambda _: {"data/name": "\ud800"}),
    "a name that climbs": config(lambda canary: {"data/name": f"../../..{canary}"}, codes=(0, 2, 4)),
    "data in an endless file": config(lambda _: {"data/root": "/dev/zero", "data/dataset": MNIST}, codes=(3,)),
    "data in a pipe": config(in_pipe, codes=(3,)),
    "data that is an exporter": config(lambda _: {"data/dataset": {"_target_": "nnrun.exporters.onnx.OnnxExporter"}}),
    "data that is an unpickler": config(
        lambda canary: {"data/dataset": {"_target_": "nnrun.archive._PlainUnpickler", "file": str(canary)}}
    ),
    "a device of nobody": config(lambda _: {"trainer/device": "meta"}),
    "a network of 2^40 weights": model(hidden=[2**40]),
    "a network for 2^40 pixels": model(in_shape=[1, 2**20, 2**20]),
    "a schema of 10^9": part(schema=lambda _: 10**9),
    "a schema of -1": part(schema=lambda _: -1),
    "a schema of 10^5000": part(schema=lambda _: 10**5000),
    "a schema that is true": part(schema=lambda _: True),
    "class names that are numbers": part(class_names=lambda _: [1, 2]),
    "class names of 1 MB": part((CKPT, RUN), (3, 4), class_names=lambda _: ["x" * 10**6]),
    "class names that cannot be written": part((CKPT, RUN), (3, 4), class_names=lambda _: ["\ud800"] * 10),
    "class names that command the terminal": part((CKPT, RUN), (3, 4), class_names=lambda _: [TITLE]),
    "a preprocessing of nothing": part(SHOWN, preprocessing=lambda _: {}),
    "a preprocessing that divides by 0": part((CKPT, RUN), (2, 4), preprocessing=lambda _: normalize(std=[0.0])),
    "a preprocessing of texts": part((CKPT, RUN), (2, 4), preprocessing=lambda _: normalize(mean="ab", std="cd")),
}
STATES = {
    "step -5": progress(step=-5),
    "epoch -1": progress(epoch=-1),
    "batch -1": progress((RESUME,), batch=-1),
    "-1 rows": progress((RESUME,), num_rows=-1),
    "a step that is a text": progress(step="x"),
    "a step that is NaN": progress(step=float("nan")),
    "a step of 5,000 digits": progress(step=10**5000),
    "a step that is a bomb": progress(step=bomb(4)),
    "an epoch that is a bomb": progress(epoch=bomb(4)),
    "a best that is a text": progress(best="x"),
    "a best without an epoch": progress(best={"value": 1.0}),
    "a best that is a bomb": progress(best={"value": 1.0, "epoch": bomb(4), "step": 6}),
    "a reason to stop that is a bomb": progress((RESUME,), stop_reason=bomb(4)),
    "a progress of more": progress((RESUME,), more=1),
    "no optimizer": training(optimizer=None),
    "an optimizer of nothing": training(optimizer={}),
    "an optimizer that is a text": training(optimizer="x"),
    "an optimizer of other weights": training(optimizer={"state": {}, "param_groups": []}),
    "no sums": training(sums=None),
    "sums that are texts": training(sums={"loss": "x", "correct": "x", "weight": "x"}),
    "no callbacks": training(callbacks=None),
    "a scheduler with another step": training((2, 4), scheduler={"step": 1}),
    "-1 threads": part((RESUME,), threads=lambda _: -1),
    "2^40 threads": part((RESUME,), threads=lambda _: 2**40),
    "threads that are a text": part((RESUME,), threads=lambda _: "x"),
    "no threads": without("threads", (RESUME,)),
    "no fingerprint": without("data_fingerprint", (RESUME,)),
    "another fingerprint": part((RESUME,), (3, 4), data_fingerprint=lambda _: "x"),
}
MANIFESTS = {
    "an endless manifest": manifest(lambda _: "[" * 100_000),
    "a manifest of nothing": manifest(lambda _: ""),
    "a manifest that is a pipe": Hostile(Bench.save, RUNS, forge=make_pipe),
    "a manifest that is a folder": Hostile(Bench.save, RUNS, forge=make_folder),
    "bytes without end": forge_json(bytes=float("inf")),
    "a name that climbs out": forge_json(name="../../stranger.ckpt"),
    "a name with a zero": forge_json(name="stranger\0.ckpt"),
    "a name of no letters": forge_json(name="\ud800"),
    "a name that is the folder": forge_json(name=".."),
    "a name of a million letters": forge_json(name="x" * 10**6),
    "a name that commands the terminal": forge_json(name=TITLE),
    "an sha256 that is another's": forge_json(sha256="0" * 64),
    "a schema of tomorrow": forge_json(schema=10**9),
    # What would be written goes through the link, to a file of the user's.
    "a lock that is a link": beside(".lock", link_to_canary),
    "a log that is a link": beside("run.log", link_to_canary),
    "rows that are a link": beside("metrics.jsonl", link_to_canary),
    "a status that is a link": beside("status.json", link_to_canary),
    "a lock that is a pipe": beside(".lock", make_pipe),
    "a log that is a pipe": beside("run.log", make_pipe),
    "rows that are a pipe": beside("metrics.jsonl", make_pipe),
    "a status that is a pipe": beside("status.json", make_pipe),
    "a status that is a list": beside("status.json", lambda path: path.write_text("[]")),
    "a status of much": beside("status.json", lambda path: path.write_text("[" * 100_000)),
    "rows that are no text": beside("metrics.jsonl", lambda path: path.write_bytes(b"\xff\xfe\n" * 100)),
}
FILES: dict[str, Hostile] = {**PICKLES, **FORMATS, **ZIPS, **TENSORS, **CONFIGS, **STATES, **MANIFESTS}

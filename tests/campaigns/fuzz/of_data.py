"""Readers of data, of tokenizers, and of what runs and sweeps leave beside their checkpoints."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.fuzz.judge import Target
from campaigns.fuzz.of_checkpoints import payload
from nnrun.assembly.prediction.array_files import holds_array, read_images
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.files import state_of
from nnrun.base.sample_results import SampleResults
from nnrun.checkpoints.locate import locate
from nnrun.components.data.array_files import Array, column_names, find_arrays
from nnrun.components.data.array_pickle import StoredArray, read_array_pickle
from nnrun.components.data.csv_table import read_table
from nnrun.components.data.pixel_table import read_pixel_table
from nnrun.components.data.table.reader import read_sheet
from nnrun.components.data.text_files import read_rows
from nnrun.components.data.tokenizing import trained
from nnrun.components.data.tokens import Tokens
from nnrun.config.yaml_files import read_saved_sections, read_yaml
from nnrun.runs.samples import read_samples, write_samples
from nnrun.sweeps.resumed import read_past, words_again
from nnrun.sweeps.table import JobResult, as_plain, write_table
from nnrun.tasks.comparison.found import FoundRun
from nnrun.tasks.comparison.metric_intervals import interval_of
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.read_run import read as read_compared
from nnrun.tasks.report.read import read_run

_GZIP = b"\x1f\x8b"


def _idx(num_dims: int, values: np.ndarray[Any, Any]) -> bytes:
    return bytes((0, 0, 8, num_dims)) + struct.pack(f">{num_dims}I", *values.shape) + values.tobytes()


def _idxs() -> list[bytes]:
    images = _idx(3, np.arange(32, dtype=np.uint8).reshape(2, 4, 4))
    return [images, gzip.compress(images, mtime=0)]


def _read_idx(content: bytes, folder: Path) -> None:
    path = folder / ("images.gz" if content.startswith(_GZIP) else "images")
    path.write_bytes(content)
    if not holds_array(path):
        raise DataError("not an idx file")
    read_images(path, (1, 4, 4)).sum()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npy_of(shape: str, descr: str = "<f4") -> bytes:
    """Return a `.npy` file that says of itself that it has a shape, as text, and a type; it has 16 bytes of values."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)


def _npys() -> list[bytes]:
    images = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    arrays = [images, np.asfortranarray(images[:, 0]), np.array(["a", "bc"]), np.zeros((0, 3)), np.float32(2)]
    return [_npy(np.asarray(array)) for array in arrays]


def _read_npy(content: bytes, folder: Path) -> None:
    path = folder / "x.npy"
    path.write_bytes(content)
    array = Array(path).open()
    with contextlib.suppress(DataError):
        read_images(path, (1, 4, 4))
    _touch(array)


def _touch(array: np.ndarray[Any, Any]) -> None:
    """Read each number of an array, unless there are very many."""
    if array.size < 2**20:
        array.tobytes()


def _npzs() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, x=np.arange(12, dtype=np.uint8).reshape(3, 2, 2), y=np.array([0, 1, 0]), names=np.array(["a"]))
        made.append(file.getvalue())
    return made


def _read_npz(content: bytes, folder: Path) -> None:
    path = folder / "x.npz"
    path.write_bytes(content)
    column_names(str(path))
    for pair in find_arrays(str(path)).values():
        for array in pair:
            _touch(array.open())


def _results() -> SampleResults:
    return SampleResults(
        kind="classes",
        names=("a", "b"),
        num_samples=2,
        indices=np.array([0, 1]),
        targets=np.array([0, 1]),
        predictions=np.array([[0.5, 0.5], [0.25, 0.75]], np.float16),
        losses=np.array([0.7, 0.1], np.float32),
        are_right=np.array([True, True]),
        predicted=np.array([0, 1]),
        texts={0: "a text"},
    )


def _samples() -> list[bytes]:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        return [write_samples(_results(), Path(folder)).read_bytes()]


def _read_samples(content: bytes, folder: Path) -> None:
    (folder / "test_samples.npz").write_bytes(content)
    interval_of(Run(folder, "finished", metrics={"test/accuracy": 0.5}, headline="accuracy"))  # raises nothing
    results = read_samples(folder)
    results.costliest(5)


def _array_pickles() -> list[bytes]:
    """Return pickles as CIFAR's, of Python 2, and as numpy writes them today."""
    array = np.arange(12, dtype=np.uint8).reshape(2, 6)
    content = {"data": array, "labels": [1, 2], "filenames": ["a", "b"]}
    old = pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core")
    return [old, pickle.dumps(content, protocol=4), pickle.dumps(content, protocol=5)]


def _read_array_pickle(content: bytes, folder: Path) -> None:
    path = folder / "data_batch_1"
    path.write_bytes(content)
    for value in read_array_pickle(path).values():
        if isinstance(value, StoredArray):
            value.is_uint8((2, 6))
            str(value)


_TABLES = (
    b"file,label\na.png,cat\nb.png,dog\n",
    b'a;b\n"x;""y";1,5\nz;\n',
    "\ufeffname\tn\nä\t3\n".encode(),
    "a,b\n1,2\n".encode("utf-16"),
    b"sep=|\na|b\n1|2\n",
    b"a.png 0\ndir/b c.png 1\n",
)
_PARTS = (
    b'"',
    b'""',
    b",",
    b";",
    b"\t",
    b"|",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"1e999",
    b"NaN",
    b"2020-01-01",
    b"1.234,5",
)


def _read_csv(content: bytes, folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_bytes(content)
    table = read_table(path)
    for row, cells in enumerate(table.rows):
        table.at(row)
        for cell in cells:
            table.number(cell)


def _sheets() -> list[bytes]:
    import polars as pl  # noqa: PLC0415

    frame, parquet, arrow = pl.DataFrame({"a": [1, 2], "b": ["x", None]}), io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_ipc(arrow)
    return [*_TABLES, b'{"a": 1, "b": "x"}\n{"a": null, "b": ["y"]}\n', parquet.getvalue(), arrow.getvalue()]


def _read_sheet(content: bytes, folder: Path) -> None:
    """Read a table as the reader of tables and that of texts do; its first bytes say of which kind it is."""
    kinds = {b"PAR1": ".parquet", b"ARRO": ".arrow", b"{": ".jsonl"}
    path = folder / f"x{next((end for mark, end in kinds.items() if content.startswith(mark)), '.csv')}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        read_rows(path)
    sheet = read_sheet(path)
    sheet.at(sheet.frame.height - 1)


def _read_pixels(content: bytes, folder: Path) -> None:
    path = folder / "x.csv"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        read_images(path, (1, 2, 2))
    for array in read_pixel_table(path, state_of(path.stat())).values():
        _touch(array)


@functools.cache
def _texts() -> tuple[str, ...]:
    return ("the cat sat", "a dog sat on the mat", "größe 42!")


def _tokenizers() -> list[bytes]:
    settings = {"vocab_size": 40, "min_frequency": 1, "lowercase": True}
    kinds = ("words", "chars", "wordpiece", "unigram", "bpe")
    return [trained(_texts(), {**settings, "kind": kind, "vocab_size": 300}).encode() for kind in kinds]


def without_unknown() -> bytes:
    """Return a tokenizer whose vocabulary has no token for unknown words."""
    plain = json.loads(_tokenizers()[0])
    del plain["model"]["vocab"]["[UNK]"]
    return json.dumps(plain).encode()


def _read_tokenizer(content: bytes, folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_bytes(content)
    tokens = Tokens(trained((), {"kind": "file", "file": str(path)}), 8)
    tokens.beside()
    assert tokens.vocab_size >= 0
    tokens.of([*_texts(), "", "\ud800".encode("utf-8", "replace").decode(), "\0" * 20])


def _sweeps() -> list[bytes]:
    import tempfile  # noqa: PLC0415

    rows = [
        JobResult(
            0, {"seed": "0"}, "0_seed0", 0, "finished", "valid/loss", 0.5, "min", 1.0, {"valid/loss": 0.5}, point=0
        ),
        JobResult(1, {"seed": "1"}, "1_seed1", 2, "failed", reason="x", point=1),
    ]
    with tempfile.TemporaryDirectory() as folder:
        record = {"words": ["seed=0,1", "model=mlp"], "settings": {"sweep": {"trials": 2}}, "told": [], "state": "done"}
        write_table(rows, ["seed"], Path(folder), record)
        return [(Path(folder) / "sweep.json").read_bytes()]


def _read_sweep(content: bytes, folder: Path) -> None:
    """Read the record of a sweep, as to resume it and as `ckpt=` does."""
    (folder / "sweep.json").write_bytes(content)
    with contextlib.suppress(ArtifactError):
        locate(folder, "best")
    past = read_past(folder)
    words_again(past, ["resume=x", "sweep.parallel=1"])
    as_plain(past.rows)
    write_table(past.rows, ["seed"], folder, {"words": list(past.words)})


_RECORDS = ("summary.json", "status.json", "environment.json", "metrics.jsonl", "run.log")


def _runs() -> list[bytes]:
    """Return what is in the files of a run, as one JSON object: texts, or values of JSON files."""
    metrics = {"test/accuracy": 0.5, "valid/loss": 1.5}
    summary = {"schema": 1, "task": "train", "state": "finished", "metrics": metrics, "wall_seconds": 2.5}
    rows = [
        {"step": 5, "epoch": 1, "split": "valid", "loss": 1.5},
        {"step": 5, "epoch": 1, "split": "train", "loss": 2},
    ]
    run = {
        "summary.json": {**summary, "monitor": "valid/loss", "mode": "min", "best": {"epoch": 1, "step": 5}},
        "status.json": {
            "schema": 1,
            "task": "train",
            "state": "finished",
            "pid": 1,
            "host": "h",
            "started": "2026-01-01",
        },
        "environment.json": {"schema": 1, "versions": {"torch": "2.9"}, "threads": 2, "git_dirty": False},
        "metrics.jsonl": "\n".join(map(json.dumps, rows)),
        "run.log": "nnrun: note: x\n",
        "config.yaml": payload()["config"],
    }
    return [json.dumps(run).encode()]


def _read_run(content: bytes, folder: Path) -> None:
    """Read a run directory as a comparison and as a report do; they raise nothing, whatever is in it."""
    try:
        run = json.loads(content)
    except (ValueError, RecursionError):
        run = {"metrics.jsonl": content.decode(errors="replace")}
    for name, value in run.items() if isinstance(run, dict) else ():
        if name in (*_RECORDS, "config.yaml"):
            text = value if isinstance(value, str) else json.dumps(value)
            (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    read_compared(FoundRun(folder, is_named=True))
    read = read_run(folder, None)
    for said in (read.title, read.headline, read.metrics, read.monitor, read.best_step, read.best_epoch, read.details):
        str(said)


_YAMLS = (
    b"seed: 0\nmodel:\n  _target_: a.b\n  hidden: [1, 2]\nx:\n  b: 0.001\n",
    b"x: &a {b: 1e-3}\ny: *a\n",
    b"# a comment\n- 1\n- !!str x\n",
    b'a: "${b}"\n<<: {c: 2}\nd: |\n  text\n',
)


def _read_yaml(content: bytes, folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        str(read_yaml(path))
    str(read_saved_sections(path))


def _tokens_of_json() -> Iterator[bytes]:
    yield from (
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
        b"NaN",
        b'"type":',
        b'"vocab":',
        b'"\\ud800"',
        b"[[[[[[",
    )


_JSON = tuple(_tokens_of_json())
_DESCR = (
    b"'descr': ",
    b"'<f4'",
    b"'|O'",
    b"'shape': (",
    b"'fortran_order': True",
    b"((((((((",
    b"-------",
    b"'<U1000000000'",
)

TARGETS = (
    Target("idx", _idxs, _read_idx, (DataError,), (b"\0\0\x08\x03", b"\0\0\x08\x01", b"\xff\xff\xff\xff", _GZIP)),
    Target("npy", _npys, _read_npy, (DataError,), _DESCR),
    Target("npz", _npzs, _read_npz, (DataError,), (b"PK\1\2", b"PK\3\4", b"PK\5\6", *_DESCR)),
    Target("samples", _samples, _read_samples, words=(b"PK\1\2", b"PK\3\4", b"PK\5\6")),
    Target(
        "array_pickles", _array_pickles, _read_array_pickle, (DataError,), (b"R", b"b", b"\x85", b"}(", b"u.", b"\x93")
    ),
    Target("csv", lambda: list(_TABLES), _read_csv, (DataError,), _PARTS),
    Target("tables", _sheets, _read_sheet, (DataError,), _PARTS + _JSON),
    Target(
        "pixel_tables",
        lambda: [b"label,a,b,c,d\n1,0,2,3,255\n", b"a,b,c,d\n1,2,3,4\n"],
        _read_pixels,
        (DataError,),
        _PARTS,
    ),
    Target("tokenizers", _tokenizers, _read_tokenizer, (DataError, ArtifactError), _JSON),
    Target("sweeps", _sweeps, _read_sweep, (ArtifactError, ConfigError), _JSON),
    Target("runs", _runs, _read_run, (), _JSON),
    Target(
        "yaml",
        lambda: list(_YAMLS),
        _read_yaml,
        (ConfigError,),
        (
            b"&a",
            b"*a",
            b"!!int ",
            b"!!bool ",
            b"!!timestamp ",
            b"!!set ",
            b"!!omap ",
            b"<<: ",
            b"? ",
            b"|\n",
            b": ",
            b"${",
        ),
    ),
)

"""The test results of each sample, in test_samples.npz, from which reports are made. Needs no torch."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.base.errors import ArtifactError
from nnrun.base.files import DurableFile, check_is_file, saving
from nnrun.base.npy_header import read_npy_entry
from nnrun.base.sample_results import SampleResults

SAMPLES_NAME = "test_samples.npz"
SCHEMA = 1
# A file that unpacks to more is not ours.
_MOST_BYTES = 2**30
_ROWS = ("indices", "targets", "predictions", "losses", "are_right")
_OTHER_ROWS = ("columns", "predicted", "predicted_labels")
# The largest number of pictures, and the largest bytes and sides of one, that are read. Those written are smaller.
_MOST_PICTURES, _MOST_PICTURE_BYTES, _MOST_SIDE = 256, 2**20, 1024
# The largest number of texts that are read, and the most characters of one.
_MOST_TEXTS, MOST_LETTERS = 256, 600


def write_samples(results: SampleResults, run: Path) -> Path:
    """Write test results into a run directory, whole or not at all; return the file."""
    arrays: dict[str, Any] = {name: value for name, value in vars(results).items() if isinstance(value, np.ndarray)}
    arrays |= _packed(results.pictures)
    arrays["texts"] = json.dumps(list(results.texts.items()))
    content, path = io.BytesIO(), run / SAMPLES_NAME
    # Strings as JSON: in an array, each takes as much room as the longest.
    arrays |= {name: json.dumps(value) for name, value in (("names", results.names), ("paths", results.paths))}
    np.savez_compressed(content, schema=SCHEMA, kind=results.kind, num_samples=results.num_samples, **arrays)
    with saving(path), DurableFile(run) as file:
        file.write(content.getbuffer())
        file.commit(SAMPLES_NAME)
    return path


def read_samples(run: str | Path) -> SampleResults:
    """Return the test results of each sample from a run directory; unknown keys are ignored.

    Raises ArtifactError where the file is missing or cannot be read.
    """
    path = Path(run) / SAMPLES_NAME
    try:
        check_is_file(path)
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
            if sum(entry.file_size for entry in entries) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES:,} bytes")
            if len({entry.filename for entry in entries}) < len(entries):
                raise ValueError("it has two arrays of the same name")
            found = {entry.filename.removesuffix(".npy"): array_in(packed, entry) for entry in entries}
        schema = int(found.pop("schema"))
        if schema > SCHEMA:
            raise ArtifactError(f"{path} was written by a newer nnrun (schema {schema}); upgrade nnrun")
        names, paths = (json.loads(str(found.pop(name))) for name in ("names", "paths"))
        rows = {name: found[name] for name in _ROWS}
        rows |= {name: found[name] for name in _OTHER_ROWS if name in found}
        if not all(value.ndim > 0 for value in rows.values()):
            raise ValueError("it does not hold arrays with one row per sample")
        if len({len(value) for value in (*rows.values(), *([] if paths is None else [paths]))}) != 1:
            raise ValueError("its arrays differ in length")
        return SampleResults(
            kind=str(found["kind"]),
            names=tuple(names),
            num_samples=int(found["num_samples"]),
            paths=None if paths is None else tuple(paths),
            pictures=_unpacked(found),
            texts=_texts(found),
            **rows,
        )
    except ArtifactError:
        raise
    except FileNotFoundError as error:
        why = "there is none: the run was not evaluated on its test split"
        raise ArtifactError(f"{path}: {why}") from error
    except Exception as error:  # numpy fails on damaged bytes in every way there is
        raise ArtifactError(f"{path} cannot be read: {error}") from error


def array_in(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    """Return an array of an archive."""
    header, content = read_npy_entry(packed, entry)
    return np.frombuffer(content, np.dtype(header.descr)).reshape(header.shape, order=header.order)


def _packed(pictures: Mapping[int, bytes]) -> dict[str, np.ndarray[Any, Any]]:
    """Return pictures as arrays: the bytes of all, the size of each, its position in the split."""
    return {
        "picture_bytes": np.frombuffer(b"".join(pictures.values()), np.uint8),
        "picture_sizes": np.array([len(content) for content in pictures.values()], np.int64),
        "picture_indices": np.array(list(pictures), np.int64),
    }


def _unpacked(found: Mapping[str, Any]) -> dict[int, bytes]:
    """Return the pictures of a file, by position in the split; none of a file of an earlier version.

    Raises ValueError unless each is a PNG file of moderate size.
    """
    if "picture_bytes" not in found:
        return {}
    sizes, indices = (found[name].astype(np.int64).ravel().tolist() for name in ("picture_sizes", "picture_indices"))
    whole, ends = found["picture_bytes"].astype(np.uint8).tobytes(), np.cumsum([0, *sizes]).tolist()
    if len(sizes) != len(indices) or len(sizes) > _MOST_PICTURES or min(sizes, default=0) < 0 or ends[-1] != len(whole):
        raise ValueError("its pictures do not fit together")
    pictures = {index: whole[ends[row] : ends[row + 1]] for row, index in enumerate(indices)}
    if not all(map(_is_picture, pictures.values())):
        raise ValueError(f"its pictures are not PNG files of at most {_MOST_SIDE}x{_MOST_SIDE} pixels")
    return pictures


def _texts(found: Mapping[str, Any]) -> dict[int, str]:
    """Return texts of samples, by position in the split; none of a file of an earlier version.

    Raises ValueError unless each is a text of moderate length.
    """
    pairs = json.loads(str(found["texts"])) if "texts" in found else []
    texts = {int(index): text for index, text in pairs}
    if len(texts) > _MOST_TEXTS or not all(
        isinstance(each, str) and len(each) <= MOST_LETTERS for each in texts.values()
    ):
        raise ValueError(f"its texts are not texts of at most {MOST_LETTERS} characters")
    return texts


def _is_picture(content: bytes) -> bool:
    """Return whether bytes begin as a PNG file whose size is moderate."""
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
    if not content.startswith(head) or not len(head) + 8 <= len(content) <= _MOST_PICTURE_BYTES:
        return False
    width, height = struct.unpack_from(">II", content, len(head))
    return 0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE

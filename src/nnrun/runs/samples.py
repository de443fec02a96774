"""The test results of each sample, in test_samples.npz, from which reports are made. Needs no torch."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.base.errors import ArtifactError
from nnrun.base.files import DurableFile, check_is_file, saving

SAMPLES_NAME = "test_samples.npz"
SCHEMA = 1
# A file that unpacks to more is not ours.
_MOST_BYTES = 2**30
_ROWS = ("indices", "targets", "predictions", "losses", "are_right")


@dataclass(frozen=True, eq=False)
class SampleResults:
    """The predictions of a network for samples of the test split, in the split's order: one row per sample.

    `kind` and `names` are those of the targets. `num_samples` is the number of samples tested. If not all are kept,
    those with the largest losses are; `indices` are the positions in the split of those kept.

    - `targets`: class numbers `(N,)`; labels 0 and 1 `(N, K)`; values `(N, K)` in the data's units
    - `predictions`: probabilities `(N, K)`, float16; values `(N, K)`, float32, in the data's units
    - `columns`: with many classes, only the most probable ones of each sample are kept: their numbers, `(N, K)`;
      else None
    - `predicted`: for classes, the number of the predicted class, `(N,)`; else None
    - `losses`: the loss of each sample, `(N,)`, float32
    - `are_right`: whether each prediction counts as right, `(N,)` of bool
    - `paths`: a readable name for each sample, such as the path of its file; None where there is none
    """

    kind: str
    names: tuple[str, ...]
    num_samples: int
    indices: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    predictions: np.ndarray[Any, Any]
    losses: np.ndarray[Any, Any]
    are_right: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any] | None = None
    predicted: np.ndarray[Any, Any] | None = None
    paths: tuple[str, ...] | None = None

    def write(self, run: Path) -> Path:
        """Write them into a run directory, whole or not at all; return the file."""
        arrays: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        content, path = io.BytesIO(), run / SAMPLES_NAME
        # Strings as JSON: in an array, each takes as much room as the longest.
        arrays |= {name: json.dumps(value) for name, value in (("names", self.names), ("paths", self.paths))}
        np.savez_compressed(content, schema=SCHEMA, kind=self.kind, num_samples=self.num_samples, **arrays)
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
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        schema = int(found.pop("schema"))
        if schema > SCHEMA:
            raise ArtifactError(f"{path} was written by a newer nnrun (schema {schema}); upgrade nnrun")
        names, paths = (json.loads(str(found.pop(name))) for name in ("names", "paths"))
        rows = {name: found[name] for name in _ROWS}
        rows |= {name: found[name] for name in ("columns", "predicted") if name in found}
        # For an entry that is not an array, numpy returns its bytes.
        if not all(isinstance(value, np.ndarray) and value.ndim > 0 for value in rows.values()):
            raise ValueError("it does not hold arrays with one row per sample")
        if len({len(value) for value in (*rows.values(), *([] if paths is None else [paths]))}) != 1:
            raise ValueError("its arrays differ in length")
        return SampleResults(
            kind=str(found["kind"]),
            names=tuple(names),
            num_samples=int(found["num_samples"]),
            paths=None if paths is None else tuple(paths),
            **rows,
        )
    except ArtifactError:
        raise
    except Exception as error:  # numpy fails on damaged bytes in every way there is
        raise ArtifactError(f"{path} cannot be read: {error}") from error

"""The test's results, sample by sample: test_samples.npz, from which reports are made. Needs no torch."""

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
# A file that unpacks to more is none of ours.
_MOST_BYTES = 2**30
_ROWS = ("indices", "targets", "predictions", "losses", "are_right")


@dataclass(frozen=True, eq=False)
class SampleResults:
    """What a network predicted for samples of the test part, in the order of the part: a row a sample.

    `kind` and `names` are those of the targets. Not all samples need be there: `num_samples` is how many were tested,
    `indices` are the places in the part of those that are kept, the ones with the largest losses.

    - `targets`: class numbers `(N,)`; labels 0 and 1 `(N, K)`; values `(N, K)` in the data's units
    - `predictions`: probabilities `(N, K)`, float16; values `(N, K)`, float32, in the data's units
    - `columns`: of many classes only the most probable of each sample are kept, `(N, K)`: which; else None
    - `predicted`: of classes the class that is predicted, `(N,)`; else None
    - `losses`: the loss of each sample, `(N,)`, float32
    - `are_right`: whether each prediction counts as right, `(N,)` of bool
    - `paths`: what a person calls each sample, such as the path of its file; None where it has no such name
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
        # Texts as JSON: an array of them takes for each as much room as for the longest.
        arrays |= {name: json.dumps(value) for name, value in (("names", self.names), ("paths", self.paths))}
        np.savez_compressed(content, schema=SCHEMA, kind=self.kind, num_samples=self.num_samples, **arrays)
        with saving(path), DurableFile(run) as file:
            file.write(content.getbuffer())
            file.commit(SAMPLES_NAME)
        return path


def read_samples(run: str | Path) -> SampleResults:
    """Return what a run directory keeps of its test, sample by sample.

    Raises ArtifactError where it keeps nothing, or nothing that can be read; keys that are not known are passed over.
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
        # What is no array numpy gives as its bytes.
        if not all(isinstance(value, np.ndarray) and value.ndim > 0 for value in rows.values()):
            raise ValueError("it does not hold arrays with a row a sample")
        if len({len(value) for value in (*rows.values(), *([] if paths is None else [paths]))}) != 1:
            raise ValueError("its arrays are not of one length")
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

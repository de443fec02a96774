"""Data sets as Hugging Face's `datasets` writes them to disk, written without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

NAMES = {"names": ["neg", "pos"], "_type": "ClassLabel"}


def save(folder: Path, frame: pl.DataFrame, features: Mapping[str, Any], num_files: int = 1) -> None:
    """Write a data set as `Dataset.save_to_disk` does: Arrow streams, and what their columns mean."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05}-of-{num_files:05}.arrow" for number in range(num_files)]
    rows = -(-frame.height // num_files)
    for number, name in enumerate(names):
        frame[number * rows : (number + 1) * rows].write_ipc_stream(folder / name)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def save_splits(folder: Path, splits: Mapping[str, pl.DataFrame], features: Mapping[str, Any]) -> None:
    """Write the splits of a data set as `DatasetDict.save_to_disk` does."""
    for name, frame in splits.items():
        save(folder / name, frame, features)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


def write_parquet(path: Path, frame: pl.DataFrame, features: Mapping[str, Any]) -> None:
    """Write a Parquet file as `Dataset.to_parquet` does: its metadata says what the columns mean."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, metadata={"huggingface": json.dumps({"info": {"features": features}})})

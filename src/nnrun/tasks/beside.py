"""The files that a caller of a network needs besides it, such as a tokenizer: in a run, and beside each artifact."""

from __future__ import annotations

from pathlib import Path

from nnrun.base.files import write_json, write_text
from nnrun.core.seams.data import Preprocessing

_SCHEMA = 1


def write_beside(preprocessing: Preprocessing, folder: Path) -> None:
    """Write the files of a preprocessing into a folder: plain values as JSON, texts as they are."""
    for name, content in getattr(preprocessing, "beside", dict)().items():
        if isinstance(content, str):
            write_text(folder / name, content)
        else:
            write_json(folder / name, content, _SCHEMA)

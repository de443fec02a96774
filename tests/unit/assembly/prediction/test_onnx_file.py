"""What is handed to ONNX Runtime, and whose fault it is where a file cannot be read."""

from __future__ import annotations

import onnx
import pytest

from campaigns.fuzz.table import TARGETS
from nnrun.assembly.prediction.onnx_file import read_onnx
from nnrun.base.errors import ArtifactError


def test_a_lack_of_memory_is_no_fault_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(TARGETS["onnx"].first()[0])
    assert read_onnx(path).content == path.read_bytes()

    def fails(error: Exception):
        def load(_: bytes) -> None:
            raise error

        monkeypatch.setattr(onnx, "load_model_from_string", load)

    fails(ValueError("odd"))
    with pytest.raises(ArtifactError, match="not an ONNX file, or it is damaged: odd"):
        read_onnx(path)
    fails(MemoryError())
    with pytest.raises(MemoryError):
        read_onnx(path)

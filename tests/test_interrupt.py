"""An interrupt is neither swallowed by a library that catches exceptions, nor taken for a failed proof."""

from __future__ import annotations

import json
import signal

import pytest

from nnrun.cli import main
from nnrun.errors import InterruptedRun
from nnrun.exporters.onnx import OnnxExporter

WORDS = ["model=mlp", "data.limit=200", "trainer.epochs=1", "hydra.run.dir=run"]


@pytest.mark.parametrize("stage", ["export", "load"])
def test_a_signal_during_an_export_stops_the_run_and_condemns_nothing(stage, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def interrupted(*_):
        raise InterruptedRun(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(OnnxExporter, stage, interrupted)
        assert main(WORDS) == 130
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    assert "go on with: nnrun resume=run" in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*.rejected"))
    assert main(["resume=run"]) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["artifacts"]["onnx"]["ok"]


def test_a_signal_is_no_exception_that_a_library_would_catch():
    assert not issubclass(InterruptedRun, Exception)

"""An exporter of the user's own that breaks its word about where its artifact is: rejected, and no crash of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.components.exporters.onnx import OnnxExporter
from support.command_line import Outcome, run_here
from support.small_runs import WORDS, status, summary


class KeepsItsWord(OnnxExporter):
    """The negative control: what the others are made of."""


class NamesNoFile(OnnxExporter):
    def export(self, model, context, folder):
        return folder / "nowhere.onnx"


class ReturnsNothing(OnnxExporter):
    def export(self, model, context, folder):
        super().export(model, context, folder)


class ReturnsAText(OnnxExporter):
    def export(self, model, context, folder):
        return str(super().export(model, context, folder))


class NamesAFileElsewhere(OnnxExporter):
    def export(self, model, context, folder):
        return super().export(model, context, folder).rename(Path("elsewhere.onnx").absolute())


class NamesItsFolder(OnnxExporter):
    """It cannot be loaded, so that its proof fails."""

    def export(self, model, context, folder):
        return super().export(model, context, folder).parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert run_here([*WORDS, "hydra.run.dir=run"], folder).code == 0
    return folder / "run"


def export(exporter: type[OnnxExporter], trained: Path, folder: Path) -> Outcome:
    target = f"export.onnx._target_={__name__}.{exporter.__name__}"
    return run_here(["export=onnx", target, f"ckpt={trained}", "hydra.run.dir=run"], folder)


@pytest.mark.parametrize(
    ("exporter", "reason"),
    [
        (NamesNoFile, "nowhere.onnx"),
        (ReturnsNothing, "returned None, not a path"),
        (ReturnsAText, "model.onnx'"),
        pytest.param(
            NamesAFileElsewhere,
            "elsewhere.onnx",
        ),
        pytest.param(
            NamesItsFolder,
            "which is not a file or folder in",
        ),
    ],
)
def test_an_artifact_that_is_not_where_its_exporter_says_is_rejected(
    trained: Path, tmp_path: Path, exporter: type[OnnxExporter], reason: str
) -> None:
    outcome = export(exporter, trained, tmp_path)
    assert outcome.code == 4, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("nnrun: export.onnx failed verification: ")
    assert reason in line
    run = tmp_path / "run"
    proof = json.loads((run / "exports" / "onnx" / "verification.json").read_text())
    artifact = summary(run)["artifacts"]["onnx"]
    assert proof["ok"] is artifact["ok"] is False
    assert proof["reason"] == artifact["reason"]
    assert (status(run)["state"], status(run)["exit_code"]) == ("failed", 4)


def test_the_exporter_that_keeps_its_word_is_proven(trained: Path, tmp_path: Path) -> None:
    assert export(KeepsItsWord, trained, tmp_path).code == 0
    assert summary(tmp_path / "run")["artifacts"]["onnx"]["ok"] is True

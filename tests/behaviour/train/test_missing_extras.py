"""What needs a package that is not installed: an error before data is read, of the environment; help knows it all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nnrun.base import foreign_errors
from nnrun.config.folders import options
from nnrun.help import help_text
from support.command_line import SHORT, run_here

NAMES = ("tensorboard", "mlflow", "wandb")


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_with_the_command_that_installs_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data is missing too, which would be exit code 3: the negative control is the same command without it."""
    (tmp_path / name).mkdir()  # a folder of this name, such as W&B makes, is not the package
    monkeypatch.setattr(foreign_errors, "find_spec", lambda module: None)
    words = [*SHORT, "data=mnist", "data.download=false", "model=mlp"]
    outcome = run_here([*words, f"logger={name}"], tmp_path)
    assert (outcome.code, outcome.created) == (5, [])
    assert outcome.err == (
        f"nnrun: logger.{name} needs the package {name}, which is not installed: pip install 'nnrun[{name}]'\n"
    )
    assert run_here(words, tmp_path).code == 3


def test_a_model_whose_library_is_missing_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in [name for name in sys.modules if name.startswith("nnrun.components.models.hf")]:
        monkeypatch.delitem(sys.modules, name)
    outcome = run_here([*SHORT, "model=hf", "model.name=owner/net"], tmp_path)
    assert (outcome.code, outcome.created) == (5, [])
    assert outcome.err == (
        "nnrun: model needs the package transformers, which is not installed: pip install 'nnrun[hf]'\n"
    )


def test_help_lists_all_whatever_is_installed() -> None:
    assert {"none", "csv", *NAMES} <= set(options("logger", ()))
    for name in NAMES:
        assert f"pip install 'nnrun[{name}]'" in " ".join(help_text(["--help", f"logger={name}"]).split())

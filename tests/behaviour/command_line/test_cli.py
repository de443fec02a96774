"""The command line as its users meet it: help, version, the config, a terminal of any width, and what is imported."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import nnrun
from nnrun.cli import main
from support.command_line import OWN, SHORT, environment, write_files
from support.command_line import nnrun as run_nnrun


def python(code: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment(**more), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--help", "data.batch_size", "model=cnn", "epochs"]])
def test_help_and_version_import_neither_hydra_nor_torch(words: list[str], tmp_path: Path) -> None:
    code = f"""
import contextlib, runpy, sys
sys.argv = ["nnrun", *{words!r}]
with contextlib.suppress(SystemExit):
    runpy.run_module("nnrun", run_name="__main__")
print("modules", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    first, *loaded = python(code, tmp_path).splitlines()[-1].split()
    assert first == "modules"
    assert "nnrun" in loaded
    assert not {"hydra", "omegaconf", "torch", "rich", "yaml", "numpy"} & set(loaded)


@pytest.mark.parametrize("words", [["--version"], ["--version", "model=cnn"], ["optimizer.lr=-1", "--version"]])
def test_version_is_all_that_is_printed(words: list[str], tmp_path: Path) -> None:
    """Negative control: by itself the second is a run, which leaves a directory, and the third a mistake."""
    done = run_nnrun(words, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nnrun {nnrun.__version__}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_and_the_module_are_one_program() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="nnrun")
    assert script.value == "nnrun.__main__:main"


def test_cfg_job_prints_the_config(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    done = run_nnrun(["--cfg", "job", "model=mynet", "optimizer.lr=0.5", "model.api_key=CANARY"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    config = yaml.safe_load(done.stdout)
    assert config["model"]["_target_"] == "mynet.MyNet"
    assert config["optimizer"]["lr"] == 0.5
    assert config["model"]["api_key"] == "***"
    assert config["trainer"]["epochs"] == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "mynet.py"]
    wrong = run_nnrun(["--cfg", "job", "model=zzz"], tmp_path)
    assert wrong.returncode == 2
    assert "nnrun: model=zzz is not an option" in wrong.stderr


def test_completion_and_hydras_own_help(tmp_path: Path) -> None:
    completion = run_nnrun(["-sc", "install=bash"], tmp_path)
    assert completion.returncode == 0
    assert "complete -o nospace -o default -F hydra_bash_completion" in completion.stdout
    help_text = run_nnrun(["--hydra-help"], tmp_path)
    assert help_text.returncode == 0
    assert "--multirun" in help_text.stdout
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    """What a terminal would be sent."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["1", "40", "200"])
def test_a_terminal_of_any_width_is_wide_enough(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(Terminal()) as terminal:
        assert main([*SHORT[:-1], "model=mlp", "trainer.progress=true"]) == 0
    assert "\x1b[" in terminal.getvalue(), "colors, and a bar"
    assert "\x1b" not in (tmp_path / "outputs" / "latest" / "run.log").read_text()


def test_a_run_imports_only_what_it_needs(tmp_path: Path) -> None:
    """Training, evaluating and resuming import neither a compiler nor a library of which they need nothing."""
    code = f"""
import json, sys
from nnrun.cli import main
lean = {{}}
def loaded():
    return sorted({{name.partition(".")[0] for name in sys.modules}} | {{"torch._dynamo"}} & set(sys.modules))
def call(*words):
    assert main([{", ".join(map(repr, SHORT[1:]))}, *words]) == 0
    lean[words[0]] = loaded()
call("model=resnet18", "trainer=debug", "hydra.run.dir=run", "trainer.grad_clip_norm=1", "trainer.ema_decay=0.9",
     "trainer.epochs=1", "trainer.max_steps=1", "scheduler=onecycle", "data.limit=24", "data.batch_size=4",
     "logger=csv")
call("ckpt=run", "data.limit=24")
call("init_from=run", "model=resnet18", "trainer=debug", "trainer.max_steps=1", "optimizer=muon", "data.limit=24",
     "data.batch_size=4")
call("model=mlp", "trainer=debug", "hydra.run.dir=short", "trainer.epochs=1")
call("resume=short", "trainer.epochs=2")
assert main(["export=onnx", "ckpt=short"]) == 0
exporting = loaded()
assert main(["export=pt2", "ckpt=short"]) == 0
print(json.dumps([lean, exporting, loaded()]))
"""
    lean, exporting, compiling = json.loads(python(code, tmp_path).splitlines()[-1])
    heavy = {
        "torch._dynamo",
        "sympy",
        "mpmath",
        "networkx",
        "triton",
        "torchvision",
        "torchmetrics",
        "timm",
        "transformers",
        "huggingface_hub",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "scipy",
        "sklearn",
        "pandas",
        "matplotlib",
        "lightning",
        "tensorboard",
        "mlflow",
        "wandb",
    }
    for words, names in lean.items():
        assert {"torch", "hydra", "rich"} <= set(names)
        assert not heavy & set(names), words
    # The proof, and onnxruntime with it, is in a process of its own.
    assert heavy & set(exporting) == {"onnx"}, "the negative control: an export imports what it writes with"
    assert {"torch._dynamo", "sympy"} <= set(compiling), "and some write with the compiler"

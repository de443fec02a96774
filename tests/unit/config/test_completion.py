"""What a shell offers at the end of a command: options, settings, values, flags and paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.config.completion import completed
from nnrun.config.flags import FLAGS
from nnrun.config.folders import GROUPS, options
from nnrun.tasks.rules import collect_rules
from nnrun.tasks.table import collect_tasks
from support.command_line import OWN_YAML, write_files


def offered(line: str) -> list[str]:
    return completed(line, collect_rules())


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nnrun mo", ["model=", "model."]),
        ("nnrun model=m", ["model=mlp"]),
        (".venv/bin/nnrun model=m", ["model=mlp"]),
        ("python -m nnrun model=m", ["model=mlp"]),
        ("nnrun trainer.p", ["trainer.precision=", "trainer.progress=", "trainer.profile="]),
        ("nnrun inspect.", ["inspect.overfit=", "inspect.steps=", "inspect.depth="]),
        ("nnrun export.", ["export.onnx."]),
        # of the option chosen on the line, by itself or by an experiment, with what that starts from
        ("nnrun model=mlp model.h", ["model.hidden="]),
        ("nnrun model.h", ["model.hidden="]),
        ("nnrun model=vgg model.d", ["model.depth=", "model.dropout="]),
        ("nnrun experiment=mnist_best model.d", ["model.depth=", "model.dropout="]),
        ("nnrun experiment=tutorial/augment augment.", ["augment.digits."]),
        ("nnrun loss=focal loss.g", ["loss.gamma="]),
        ("nnrun augment=[mixup,digits] augment.", ["augment.mixup.", "augment.digits."]),
        ("nnrun scheduler=step scheduler.", ["scheduler.step_size=", "scheduler.gamma="]),
        # values
        ("nnrun trainer.precision=", [f"trainer.precision={word}" for word in ("auto", "fp32", "bf16", "fp16")]),
        ("nnrun trainer.deterministic=", ["trainer.deterministic=false", "trainer.deterministic=true"]),
        ("nnrun trainer.device=c", ["trainer.device=cpu", "trainer.device=cuda"]),
        ("nnrun loss.weight=", ["loss.weight=null", "loss.weight=balanced"]),
        ("nnrun trainer.epochs=", ["trainer.epochs=40"]),
        ("nnrun model=vgg model.depth=", ["model.depth=2"]),
        ("nnrun model.in_shape=", []),
        ("nnrun zzz=", []),
        # lists, and sweeps
        ("nnrun augment=[mixup,er", ["augment=[mixup,erasing"]),
        ("nnrun 'augment=[mixup,mi", []),
        ("nnrun -m model=cnn,v", ["model=cnn,vgg"]),
        ("nnrun model=cnn,v", []),
        # a setting by its last word, where there is one
        ("nnrun label_s", ["loss.label_smoothing="]),
        ("nnrun lr", ["lr_find.", "optimizer.lr="]),
        # flags, and what they take
        ("nnrun --mul", ["--multirun"]),
        ("nnrun --cfg ", ["job", "hydra", "all"]),
        ("nnrun --explain trainer.e", ["trainer.epochs", "trainer.ema_decay"]),
        ("nnrun --explain mod", ["model", "model."]),
        ("nnrun --help model=c", ["model=cnn"]),
        ("nnrun ++seed", ["++seed="]),
        ("", []),
    ],
)
def test_what_is_offered(line: str, expected: list[str]) -> None:
    found = offered(line)
    # A setting that only all of a group's options have comes after its groups.
    assert [word for word in found if word in expected] == found or expected == []
    assert sorted(found) == sorted(expected)


def test_every_group_and_option_is_offered() -> None:
    """Those in folders below a group too, which Hydra's completion passes over."""
    assert {f"{group}=" for group in GROUPS} <= set(offered("nnrun "))
    for group in GROUPS:
        assert offered(f"nnrun {group}=") == [f"{group}={option}" for option in options(group, [])]
    assert "experiment=tutorial/base" in offered("nnrun experiment=tutorial/")
    names = {task.name for task in collect_tasks() if task.is_named}
    assert {word.removeprefix("task=") for word in offered("nnrun task=")} == {"auto", *names}
    assert offered("nnrun --") == [flag for flag in FLAGS if flag.startswith("--")]


def test_options_of_ones_own_are_offered(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"conf/model/mynet.yaml": OWN_YAML, "there/loss/mine.yaml": "# Mine.\n_target_: x.Y\nbeta: 1\n"}
    )
    assert offered("nnrun model=my") == ["model=mynet"]
    assert offered("nnrun model=mynet model.h") == ["model.hidden="]
    assert offered("nnrun model=mynet model.hidden=") == ["model.hidden=16"]
    assert offered("nnrun --no-conf model=my") == []
    assert offered("nnrun --config-dir there loss=m") == ["loss=mae", "loss=mine", "loss=mse"]
    assert offered("nnrun --config-dir=there loss=mine loss.") == ["loss.beta="]
    assert offered("nnrun --config-dir th") == ["there/"]
    assert offered("nnrun --config-dir nowhere loss=mi") == []


def test_paths_are_offered_as_a_shell_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"my photos/a b/1.png": "", "my photos/x.npz": "", ".hidden/a": "", "run/s.ckpt": ""})
    assert offered("nnrun ckpt=") == ["ckpt=my\\ photos/", "ckpt=run/"]
    assert offered("nnrun ckpt=.h") == ["ckpt=.hidden/"]
    assert offered("nnrun ckpt=run/") == ["ckpt=run/s.ckpt"]
    assert offered("nnrun data.root=my\\ photos/") == ["data.root=my\\ photos/a\\ b/", "data.root=my\\ photos/x.npz"]
    assert offered("nnrun 'data.root=my photos/x") == ["data.root=my photos/x.npz"], "within quotes as it is"
    assert offered("nnrun resume=run/") == [], "a file is no run"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert offered("nnrun input=~/my\\ photos/x") == ["input=~/my\\ photos/x.npz"]
    assert offered("nnrun transfer.weights=d") == ["transfer.weights=default"]
    assert offered("nnrun ckpt=nowhere/") == []

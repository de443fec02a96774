"""`nnrun --explain KEY`: which file, word or checkpoint sets a value, and what it was before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from nnrun.config.folders import conf_dir
from nnrun.config.origins import explain
from support.command_line import OWN, SHORT, run_here, write_files


def explained(key: str, words: list[str], own: list[Path] | None = None) -> list[str]:
    return explain([key], compose(words, own or []), 200).splitlines()


def line_of(name: str, text: str) -> str:
    """The place of a line of ours, as it is said."""
    lines = (conf_dir() / name).read_text().splitlines()
    return f"conf/{name}, line {next(number for number, line in enumerate(lines, 1) if line.strip().startswith(text))}"


def test_a_default_a_file_and_a_word() -> None:
    default = line_of("trainer/default.yaml", "epochs:")
    assert explained("trainer.epochs", [])[:2] == ["trainer.epochs=40", f"  set by {default}"]
    experiment = line_of("experiment/mnist_best.yaml", "epochs:")
    assert explained("trainer.epochs", ["experiment=mnist_best", "trainer.epochs=3"]) == [
        "trainer.epochs=3",
        "  set by the command line: trainer.epochs=3",
        f"  instead of 20: {experiment}",
        f"  instead of 40: {default}",
        "  maximum number of passes over the training samples; 0 evaluates the network untrained",
        "  allowed: a whole number from 0 up",
    ]
    assert explained("trainer.epochs", ["trainer=debug"])[:3] == [
        "trainer.epochs=2",
        f"  set by {line_of('trainer/debug.yaml', 'epochs:')}",
        f"  instead of 40: {default}",
    ]


def test_a_default_of_a_data_set_comes_after_what_all_share() -> None:
    assert explained("data.batch_size", [])[:3] == [
        "data.batch_size=32",
        f"  set by {line_of('data/digits.yaml', 'batch_size:')}",
        f"  instead of 64: {line_of('data/_base.yaml', 'batch_size:')}",
    ]


def test_auto_is_explained_as_what_it_became() -> None:
    lines = explained("loss", ["loss.label_smoothing=0.1"])
    assert lines[:3] == ["loss=auto", f"  set by {line_of('config.yaml', '- loss:')}", "  auto is cross_entropy here"]
    rows = [re.sub(" {2,}", "  ", line) for line in lines]
    assert "  loss.label_smoothing=0.1  the command line: loss.label_smoothing=0.1" in rows
    assert f"  loss.weight=null  {line_of('loss/cross_entropy.yaml', 'weight:')}" in rows
    values = explained("loss", ["problem=regression", "data=arrays"])
    assert "  auto is mse here" in values


def test_the_directories_of_runs_and_sweeps_are_settings_too() -> None:
    default = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"
    place = line_of("config.yaml", f"dir: {default}")
    assert explained("hydra.run.dir", [])[:2] == [f"hydra.run.dir={default}", f"  set by {place}"]
    assert explained("hydra.run.dir", ["hydra.run.dir=here/${seed}"])[:3] == [
        "hydra.run.dir=here/${seed}",
        "  set by the command line: hydra.run.dir=here/${seed}",
        f"  instead of {default}: {place}",
    ]
    assert explained("hydra.sweep.dir", [])[0].startswith("hydra.sweep.dir=outputs/multirun/")
    with pytest.raises(ConfigError, match=r"hydra\.run is not a setting here; did you mean 'hydra.run.dir'"):
        explained("hydra.run", [])


def test_an_option_that_an_experiment_chooses() -> None:
    """Of a file that starts from another, which has the line."""
    lines = explained("model", ["experiment=tutorial/augment"])
    assert lines[:3] == [
        "model=cnn",
        f"  set by {line_of('experiment/tutorial/base.yaml', '- override /model')}",
        f"  instead of auto: {line_of('config.yaml', '- model:')}",
    ]
    assert explained("model", ["experiment=tutorial/augment", "model=mlp"])[:2] == [
        "model=mlp",
        "  set by the command line: model=mlp",
    ]


def test_what_the_data_fills_in_and_what_follows_from_it() -> None:
    assert "  set from the data" in explained("model.in_shape", [])
    late = explained("data.num_outputs", [])
    assert late[0] == "data.num_outputs=null"
    assert late[2].startswith("  set from the data: the number of outputs")
    targets = explained("data.targets", ["loss=mse", "data=arrays"])
    assert targets[:2] == ["data.targets=values", "  set by the chosen loss or problem"]
    followed = explained("scheduler.max_lr", ["scheduler=onecycle", "optimizer.lr=0.5"])
    assert (followed[0], followed[2]) == ("scheduler.max_lr=0.5", "  follows ${optimizer.lr}")


def test_options_of_ones_own(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    lines = explained("model.hidden", ["model=mynet"], [tmp_path / "conf"])
    assert lines[:2] == ["model.hidden=16", f"  set by {tmp_path / 'conf' / 'model' / 'mynet.yaml'}, line 5"]


def test_a_part_of_a_typed_section_and_a_secret() -> None:
    lines = explained("loss.weight", ["loss.weight=[1,2,3,1,1,1,1,1,1,1]"])
    assert lines[0] == "loss.weight=[1, 2, 3, 1, 1, 1, 1, 1, 1, 1]"


def test_what_is_no_setting_here_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"scheduler.gamma is not a setting here; scheduler=exponential and "):
        explained("scheduler.gamma", [])
    with pytest.raises(
        ConfigError, match=r"optimizer.learning_rate is not a setting here; did you mean 'optimizer.lr'"
    ):
        explained("optimizer.learning_rate", [])


def test_a_value_beside_the_key_is_a_word_of_the_command(tmp_path: Path) -> None:
    told = run_here(["--explain", "trainer.epochs=3"], tmp_path)
    assert told.out.splitlines()[:2] == ["trainer.epochs=3", "  set by the command line: trainer.epochs=3"]


def test_a_checkpoint_sets_what_belongs_to_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = [*SHORT, "model=mlp", "model.hidden=[8]", "hydra.run.dir=run"]
    assert run_here(words, tmp_path).code == 0
    flag = ["--explain", "model.hidden", "--explain=trainer.device", "--explain", "export"]
    told = run_here([*flag, "ckpt=run", "trainer.device=cpu", "export=onnx"], tmp_path)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == "model.hidden=[8]"
    checkpoint = r"the checkpoint run/checkpoints/step-\d{8}-[0-9a-f]{8}\.ckpt"
    assert re.fullmatch(rf"  set by {checkpoint}, whose command line had model.hidden=\[8\]", lines[1])
    device = lines.index("trainer.device=cpu")
    assert lines[device + 1] == "  set by the command line: trainer.device=cpu"
    assert re.fullmatch(f"  instead of cpu: {checkpoint}", lines[device + 2])
    assert "export=onnx" in lines and "  set by the command line: export=onnx" in lines
    assert told.created == [], "nothing is done"
    other = run_here(["--explain", "data.limit", "--explain", "task", "resume=run"], tmp_path).out.splitlines()
    assert (other[0], re.fullmatch(f"  set by {checkpoint}, .* had data.limit=200", other[1]) is not None) == (
        "data.limit=200",
        True,
    )
    assert f"  set by {line_of('config.yaml', 'task:')}" in other
    evaluated = run_here(["--explain", "model", "--explain", "export", "ckpt=run"], tmp_path).out.splitlines()
    assert (evaluated[0], "export=none" in evaluated) == ("model=mlp", True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--explain"], "--explain needs a setting, a section or a group"),
        (["-m", "--explain", "seed", "seed=1,2"], "--explain explains a single run; remove -m"),
        (["--explain", "seed", "seed=x"], "seed is 'x'; allowed: a whole number"),
        (["--explain", "sed"], "sed is not a setting here; did you mean 'seed'?"),
    ],
)
def test_a_wrong_command_is_an_error(words: list[str], says: str, tmp_path: Path) -> None:
    told = run_here(words, tmp_path)
    assert (told.code, told.out) == (2, "")
    assert says in told.err

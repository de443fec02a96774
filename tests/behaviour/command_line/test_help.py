"""`nnrun --help`: everything, a group, an option, a setting; at any width, with the user's own options."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import GROUPS, OF_A_SWEEP, options
from nnrun.help import help_text
from support.command_line import OWN, OWN_YAML, nnrun, write_files

TOPICS = [
    *("trainer", "model", "export", "experiment", "model=cnn", "experiment=mnist_best", "trainer=debug", "inspect"),
    *("hydra.run.dir", "data.batch_size", "optimizer.lr", "loss.gamma", "task", "task=predict", "seed", "data.dataset"),
]


def paged(topic: str, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    return help_text([topic] if topic else []).splitlines()


def test_help_names_every_group_option_and_setting(tmp_path: Path) -> None:
    write_files(tmp_path, {"mine/model/mynet.yaml": OWN_YAML})
    done = nnrun(["--config-dir", "mine", "--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for group in GROUPS:
        below = lines[lines.index(group) + 1 :]
        listed = [line.lstrip(" *").split(" ")[0] for line in below[: below.index("")]]
        assert listed == options(group, [tmp_path / "mine"] if group == "model" else [])
    assert any("mynet" in line and "A network of my own." in line for line in lines)
    assert any(line.startswith("  * auto ") for line in lines), "the default is marked"
    assert "nnrun ckpt=outputs/latest" in done.stdout
    said = [line.split() for line in lines if line.startswith("  ")]
    assert ["inspect.steps=200", "maximum", "number"] in [words[:3] for words in said]
    assert "mynet" not in nnrun(["-h"], tmp_path).stdout


def leaves(tree: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return found


def test_the_defaults_that_help_shows_are_those_of_a_plain_run() -> None:
    """All of them, and no other but a sweep's; of the class of each section its option says."""
    shown = {key: it for key, it in Catalogue().defaults.items() if key.partition(".")[0] not in OF_A_SWEEP}
    plain = leaves(compose([]).shown())
    kept = {key: value for key, value in plain.items() if not key.endswith("_target_")}
    empty = {key for key in GROUPS if kept.get(key, 1) in ({}, None)}
    assert {key for key, setting in shown.items() if not setting.is_section} == kept.keys() - empty
    numbers = [key for key, value in kept.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    assert len(numbers) > 20
    assert {key: float(shown[key].default) for key in numbers} == {key: kept[key] for key in numbers}
    words = [key for key, value in kept.items() if isinstance(value, str)]
    assert {key: shown[key].default for key in words} == {key: kept[key] for key in words}


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("topic", ["", *TOPICS])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(
    topic: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = paged(topic, monkeypatch, columns)
    assert [line for line in lines if len(line) > columns] == []
    whole = {"\\", *" ".join(paged(topic, monkeypatch, 400)).split()}
    words = " ".join(lines).split()
    assert [word for word in words if word not in whole and word.removesuffix("...") not in whole] == []


def test_a_wide_terminal_has_a_setting_and_what_it_does_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a narrow one has them below each other, and a longer option cut."""
    wide, narrow = paged("trainer", monkeypatch, 120), paged("trainer", monkeypatch, 60)
    assert any(line.startswith("  trainer.ema_decay=null    ") and "moving average" in line for line in wide)
    below = narrow[narrow.index("  trainer.ema_decay=null") + 1]
    assert below.startswith("      decay of an exponential moving average")
    assert any(line.endswith("...") for line in narrow)


def test_a_group_shows_its_options_and_the_settings_of_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = paged("trainer", monkeypatch)
    assert lines[0] == "trainer: device, precision, training length, checkpoints, logging"
    assert any(line.startswith("  * default  ") for line in lines)
    assert lines[lines.index("  trainer.epochs=40") + 1].strip().startswith("maximum number of passes over")
    assert "  trainer.keep_last=2" in lines


def test_auto_shows_what_it_is_in_a_plain_run(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = paged("loss", monkeypatch)
    assert "Settings of loss=auto, which is loss=cross_entropy in a plain `nnrun`, with" in lines
    assert "  loss.label_smoothing=0.0" in lines
    assert not any(line.startswith(("  loss.classes", "  loss.gamma")) for line in lines)


def test_an_option_shows_all_that_its_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = paged("trainer=debug", monkeypatch)
    assert "  (conf/trainer/debug.yaml)" in lines
    assert {"  trainer.max_steps=6", "  trainer.keep_last=2"} <= set(lines), "its own, and those that it starts from"
    chosen = paged("experiment=mnist_best", monkeypatch)
    assert {"  chooses model=vgg", "  chooses augment=digits", "  trainer.epochs=20"} <= set(chosen)
    assert paged("export.onnx", monkeypatch) == paged("export=onnx", monkeypatch)


def test_a_setting_shows_default_comment_range_and_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(paged("data.batch_size", monkeypatch, 200))
    assert text.startswith(
        "data.batch_size=32\n  samples per training batch; auto: the smallest that is nearly as fast"
    )
    assert "; an epoch is 42 steps: with larger batches" in text
    assert "\n  allowed: a whole number from 1 up, or auto\n  64 in data=arrays, data=cifar10," in text
    assert "\n  32 in data=digits (here)\n  (conf/data/digits.yaml, line " in text
    gamma = paged("loss.gamma", monkeypatch)
    assert "  not in a plain `nnrun`: choose loss=focal" in gamma
    assert "  allowed: auto, fp32, bf16, fp16" in paged("trainer.precision", monkeypatch)
    assert "  allowed: true or false" in paged("trainer.deterministic", monkeypatch)
    assert "  allowed: auto or true or false" in paged("trainer.compile", monkeypatch)


def test_a_command_says_what_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`nnrun init --help` among them; negative control: a task that is a section of settings shows these."""
    done = nnrun(["init", "--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("  nnrun init DIR")
    assert "DIR must be new or empty" in done.stdout
    assert not list(tmp_path.iterdir())
    assert "ckpt=outputs/latest" in "\n".join(paged("evaluate", monkeypatch))
    assert any(line.startswith("  predict.format=") for line in paged("predict", monkeypatch))


def test_an_unknown_flag_is_an_error_beside_help_too(tmp_path: Path) -> None:
    done = nnrun(["init", "--help", "--epochs", "3"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--epochs is not a flag: settings have no dashes; did you mean 'trainer.epochs=3'?" in done.stderr


def test_a_setting_that_options_describe_differently_is_shown_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first option's text is not everybody's; negative control: what all share is one list."""
    text = "\n".join(paged("data.dataset.root", monkeypatch, 200))
    assert "  ${data.root} in data=arrays: the .npz file, the folder with the .npy files, or" in text
    assert "data=torchvision: follows data.root" in text
    lines = paged("data.dataset", monkeypatch, 200)
    arrays, folder = lines.index("data=arrays:"), lines.index("data=folder:")
    assert any("the .npz file" in line for line in lines[arrays:folder])
    assert not any("the .npz file" in line for line in lines[folder:])
    assert not any(line.startswith("data=") for line in paged("trainer", monkeypatch, 200))


def test_own_options_are_shown_as_ours_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = OWN_YAML.replace("hidden: 16", "# units of mine\nhidden: 16")
    write_files(tmp_path, OWN | {"conf/model/mynet.yaml": yaml})
    monkeypatch.chdir(tmp_path)
    option = paged("model=mynet", monkeypatch)
    assert option[0] == "model=mynet: A network of my own."
    assert "  (conf/model/mynet.yaml)" in option
    text = "\n".join(paged("model.hidden", monkeypatch, 200))
    assert "16 in model=mynet" in text
    assert any("units of mine" in line for line in option)


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("trainer.epoch", "did you mean 'trainer.epochs'?"),
        ("modle", "did you mean 'model'?"),
        ("model=cnnn", "did you mean 'cnn'? available: auto, bag, cnn,"),
        ("zzz", "zzz is not a group, an option or a setting; nnrun --help lists them"),
    ],
)
def test_a_word_that_names_nothing_is_an_error(topic: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=topic) as raised:
        help_text([topic, "trainer"])
    assert says in raised.value.messages[0]


def test_a_wrong_topic_ends_with_code_2_and_shows_nothing(tmp_path: Path) -> None:
    done = nnrun(["--help", "trainer.epoch"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nnrun: trainer.epoch is not a group")
    assert done.stderr.count("\n") == 1

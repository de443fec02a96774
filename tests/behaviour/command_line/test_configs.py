"""Every option of conf/: it says what it is and how to use it, its example is right, and it trains."""

from __future__ import annotations

import inspect
import json
import math
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from nnrun.assembly.allowed import import_target
from nnrun.cli import compose
from nnrun.components.data.tokenizing import trained
from nnrun.config.folders import GROUPS, OF_A_SWEEP, conf_dir, options
from nnrun.config.overrides import jobs_of, parse_all
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.sweep_settings import compose_sweep, is_of_a_sweep
from nnrun.sweeps.search.draws import RandomDraws
from nnrun.sweeps.search.grammar import space_of
from nnrun.tasks.rules import collect_rules
from support.command_line import cifar_files, mnist_files, run_here, write_files
from support.huggingface import make_bert
from support.pictures import labelled, make_arrays, make_folder, valued
from support.texts import make_texts

pytestmark = pytest.mark.usefixtures("warm_python")

FILES = sorted(str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*.yaml"))
OPTIONS = [(group, option) for group in GROUPS for option in options(group, [])]
# What we give to each class ourselves, or leave at the class's own default because no user sets it.
GIVEN = {"optimizer": {"params"}, "scheduler": {"optimizer", "last_epoch"}, "problem": {"targets"}}
DEFAULTS = {
    "model": "auto",
    "tokenizer": "none",
    "data": "digits",
    "augment": "none",
    "problem": "auto",
    "loss": "auto",
    "metric": "auto",
    "optimizer": "adam",
    "scheduler": "none",
    "trainer": "default",
    "transfer": "default",
    "early_stopping": "default",
    "callback": "none",
    "export": "onnx",
    "logger": "none",
    "report": "default",
    "sweep": "grid",
    "launch": "local",
    "experiment": "none",
}


# What an option needs beside it, where the defaults are not for it.
OF_LABELS, OF_VALUES = (
    [(group, option) for group, names in groups.items() for option in names]
    for groups in (
        {"problem": ["multilabel"], "loss": ["bce"]},
        {"problem": ["regression"], "loss": ["mse", "mae", "huber"]},
    )
)
# What needs an extra that `make test` does not install.
EXTRAS = [*(("logger", name) for name in ("tensorboard", "mlflow", "wandb")), ("model", "hf")]
# Options for texts.
OF_TEXTS = [("model", name) for name in ("bag", "gru", "lstm", "textcnn", "transformer")]
OF_TEXTS += [("tokenizer", name) for name in ("words", "chars", "bpe", "wordpiece", "unigram", "file")]
BESIDE = {
    **{(group, name): {"data": "text", "model": "bag"} | {group: name} for group, name in OF_TEXTS},
    ("data", "text"): {"model": "bag"},
    ("model", "hf"): {"data": "text"},
    ("augment", "color"): {"data": "cifar10"},
    **{pair: {"data": "arrays"} for pair in OF_LABELS + OF_VALUES},
}


def header(name: str) -> list[str]:
    """The comment at the head of a file, without Hydra's own line and without the `# `."""
    lines = (conf_dir() / name).read_text().splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:end] if not line.startswith("# @package")]


def examples(name: str) -> list[list[str]]:
    """The words of each command in the head of a file; two spaces and more begin a remark."""
    commands = [line.strip() for line in header(name) if line.strip().startswith("nnrun")]
    return [shlex.split(command.partition("  ")[0])[1:] for command in commands]


def named(group: str, words: list[str]) -> list[str]:
    """The options of a group that the words of a command name."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{group}=")]
    return [option for value in values for option in value.strip("[]").split(",")]


def read(group: str, option: str) -> dict:
    return yaml.safe_load((conf_dir() / group / f"{option}.yaml").read_text()) or {}


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_and_how_to_use_it(name: str) -> None:
    lines = header(name)
    assert lines and lines[0][0].isalpha() and lines[0].count(" ") >= 1, "the first line is for people"
    if not Path(name).name.startswith("_"):
        assert examples(name), "no line '#   nnrun ...'"
    assert "\t" not in (conf_dir() / name).read_text()


@pytest.mark.parametrize("name", [name for name in FILES if examples(name)])
def test_the_example_in_a_file_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command for a checkpoint is composed without it: there is none here."""
    monkeypatch.chdir(tmp_path)
    for words in examples(name):
        if words[:1] == ["-m"]:
            typed, problems = parse_all(words[1:])
            config = compose_sweep(typed, [], collect_rules())
            assert not problems
            of_jobs = [item for item in typed if not is_of_a_sweep(item)]
            if config.sweep.method == "grid":
                assert all(map(compose, jobs_of(of_jobs)))
                continue
            space = space_of([item for item in of_jobs if item.is_sweep], [], collect_rules().ranges)
            for number in range(3):
                point, _ = RandomDraws(space, 0).propose((), number, 0)
                assert compose([f"{key}={word}" for key, word in space.words(point).items()])
            continue
        composed = compose([word for word in words if not word.startswith("ckpt=")])
        group, _, option = name.removesuffix(".yaml").partition("/")
        if option and option != DEFAULTS[group]:
            chosen = option in named(group, words)
            assert chosen or composed.shown().get(group) == compose([f"{group}={option}"]).shown().get(group)
    with pytest.raises(Exception, match="is not a setting"):
        compose(["optimizer.lrr=1"])


def test_the_defaults_are_the_contract() -> None:
    listed = yaml.safe_load((conf_dir() / "config.yaml").read_text())["defaults"]
    assert {group: option for entry in listed if isinstance(entry, dict) for group, option in entry.items()} == DEFAULTS
    assert set(DEFAULTS) == set(GROUPS)


@pytest.mark.parametrize(
    "group",
    ["augment", "metric", "scheduler", "early_stopping", "callback", "export", "logger", "report", "experiment"],
)
def test_an_optional_group_has_none(group: str) -> None:
    assert "none" in options(group, [])


@pytest.mark.parametrize(
    ("group", "option"),
    [
        pytest.param(*pair, marks=[pytest.mark.extras] * (pair == ("model", "hf")))
        for pair in OPTIONS
        if "_target_" in str(read(*pair))
    ],
)
def test_a_file_lists_every_parameter_of_its_class(group: str, option: str) -> None:
    """Else a setting could not be typed without `+`, nor a typo be told from it, before torch is imported."""
    section = read(group, option)
    section = section.get("dataset", section)
    target = import_target(group, section["_target_"])
    parameters = set(inspect.signature(target).parameters) - GIVEN.get(group, set())
    assert set(section) - {"_target_", "defaults"} == parameters


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set for every option of `data` that reads files."""
    folder = tmp_path_factory.mktemp("configs")
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        write_files(folder, mnist_files("data", name))
    for num_classes in (10, 100):
        write_files(folder, cifar_files("data", num_classes))
    make_folder(folder / "pictures", {"train": 20, "test": 20})
    make_arrays(folder / "pictures.npz", 30)
    lines = [f"{place % 7},{place % 3}.5,{'ab'[place % 2]},{'xy'[place // 3 % 2]}" for place in range(60)]
    write_files(folder, {"flowers.csv": "\n".join(["height,width,color,kind", *lines]) + "\n"})
    for name, make in (("labelled", labelled), ("valued", valued)):
        x, y = make(90)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    make_texts(folder / "texts.csv", 60)
    (folder / "tokenizer.json").write_text(trained(["good bad"], TOKENIZER), encoding="utf-8")
    if find_spec("transformers"):
        make_bert(folder / "bert")
    return folder


# Networks for tables alone.
FOR_TABLES = [("model", name) for name in ("tabular", "tabm", "linear")]
OF_TABLE = ["data.root=flowers.csv", "data.target=kind"]

TOKENIZER = {"kind": "words", "vocab_size": 10, "min_frequency": 1, "lowercase": True}
# What an option cannot be used without.
NEEDED = {
    ("data", "folder"): ["data.root=pictures"],
    ("data", "arrays"): ["data.root=pictures.npz"],
    ("data", "torchvision"): ["data.dataset.name=MNIST"],
    **{pair: ["data=table", *OF_TABLE] for pair in FOR_TABLES},
    ("data", "table"): ["model=auto", *OF_TABLE],
    ("model", "hf"): ["data.root=texts.csv", "model.name=bert"],
    **{pair: ["data.root=texts.csv"] for pair in [*OF_TEXTS, ("data", "text")]},
    ("tokenizer", "file"): ["data.root=texts.csv", "tokenizer.file=tokenizer.json"],
    **{pair: ["data.root=labelled.npz"] for pair in OF_LABELS},
    **{pair: ["data.root=valued.npz"] for pair in OF_VALUES},
}


@pytest.mark.parametrize(
    ("group", "option"),
    [
        pytest.param(*pair, marks=[pytest.mark.extras] * (pair in EXTRAS))
        for pair in OPTIONS
        if pair[0] not in OF_A_SWEEP
    ],
)
def test_every_option_trains(group: str, option: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """Six steps over two epochs, so that schedules and early stopping have their turn; test and summary after it."""
    chosen = {"model": "mlp", "trainer": "debug", "export": "none"} | {group: option} | BESIDE.get((group, option), {})
    if group == "experiment" and option != "none":
        del chosen["model"]
    run = folder / f"{group}-{option}"
    words = [f"{name}={value}" for name, value in chosen.items()]
    words += ["trainer.epochs=2", "trainer.max_steps=6", "trainer.log_every_steps=1", "trainer.progress=false"]
    words += ["data.batch_size=8", "data.limit=30", "data.val_fraction=0.2", "data.download=false"]
    outcome = run_here([*words, *NEEDED.get((group, option), []), f"hydra.run.dir={run}"], folder)
    assert outcome.code == 0, f"{outcome.err}(BESIDE and NEEDED have what an option needs beside it)"
    assert outcome.err == ""
    config = yaml.safe_load((run / "config.yaml").read_text())
    file = read(group, option)
    if "_target_" in file:
        section = config[group][option] if group in NAMED_SECTIONS else config[group]
        assert section["_target_"] == file["_target_"]
    elif group == "data":
        assert config["data"]["name"] == option
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["state"], summary["train"]["steps"], summary["train"]["epochs"]) == ("finished", 6, 2)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert len(losses) >= 6
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) > 1, "nothing was learned"
    assert set(summary["artifacts"]) == ({option} if group == "export" and option != "none" else set())

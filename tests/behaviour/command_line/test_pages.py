"""Every command that README, docs/ and the heads of conf/ show runs as it stands, on small data of its kind."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import nnrun
from nnrun.help import help_text
from support.command_line import NNRUN, cifar_files, environment, mnist_files, run_here, write_files
from support.saved_sets import save_splits, write_parquet
from support.small_runs import stop_at
from support.texts import make_texts

TOP = Path(nnrun.__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), *sorted((TOP / "conf").rglob("*.yaml"))]
# In a block, indented by four, or in the head of a YAML file; what it prints follows it.
COMMAND = re.compile(r"^(?:\$ |    (?:\$ )?|#   )(?:\w+=\$\()?(nnrun(?: .*)?)$|^(nnrun (?:-|\S+=).*)$", re.MULTILINE)
# Where it ends: before a comment, or what the shell does with its output.
BEHIND = re.compile(r"\s{2,}|\s#|\s(?:\d?>|\|)|\)$")
# Own code that a page shows: a path that ends a paragraph and the block below it, or a block that begins with its path.
NAMED = re.compile(r"`([\w./]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", re.DOTALL)
INDENTED = re.compile(r"`([\w./]+\.(?:py|yaml))`:\n\n((?:    .*\n|\n)+)")
HEADED = re.compile(r"```(?:python|yaml)\n((?:# @package \S+\n)?# ([\w./]+\.(?:py|yaml))\n.*?)```", re.DOTALL)
# What these need is not made here: a model of the hub, the files of a data set in a form that torchvision alone writes,
# a GPU, or a cluster (test_slurm.py runs those).
ELSEWHERE = (
    "model.name=distilbert/",
    "model.name=google/",
    "dataset.name=SVHN",
    "dataset.name=EMNIST",
    "trainer.device=cuda",
    "launch=slurm",
)


@dataclass(frozen=True)
class Shown:
    """A command of a page, and whether the page shows that it fails."""

    page: Path
    words: tuple[str, ...]
    fails: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)}: {shlex.join(self.words)}"


def shown(page: Path) -> Iterator[Shown]:
    text = page.read_text()
    for found in COMMAND.finditer(text):
        line = BEHIND.split(found[1] or found[2])[0].replace("$run", "outputs/latest")
        printed = re.split(r"^\$ |^```|^$", text[found.end() + 1 :], maxsplit=1, flags=re.MULTILINE)[0]
        yield Shown(page, tuple(shlex.split(line)[1:]), re.search(r"^\s*nnrun: ", printed, re.MULTILINE) is not None)


COMMANDS = [command for page in PAGES for command in shown(page)]


def test_the_pages_show_commands() -> None:
    """What is looked for is found: those of a block, those of an indented block, and those of a YAML's head."""
    texts = [str(command) for command in COMMANDS]
    assert len(texts) > 150
    assert {
        "docs/guide.md: -m model=mlp,cnn optimizer=adam,sgd trainer.epochs=1",
        "docs/augment.md: 'augment=[digits,mixup]'",
        "conf/optimizer/sgd.yaml: optimizer=sgd optimizer.lr=0.05 scheduler=cosine",
    } <= set(texts)
    assert [command.words for command in COMMANDS if command.fails and command.page.name == "guide.md"] == [
        ("modle=cnn", "optimizer.lr=-1", "trainer.epoch=3", "data.batch_size=2.5")
    ]


# Own code of which a page shows the outline alone, or leaves it to the reader.
LEFT_OUT = {
    "data.md": {
        "mymod.py": """
import numpy as np
from PIL import Image

class MyData:
    classes = ["dark", "light"]

    def __init__(self, train, kind="pil"):
        self.size, self.kind = (40 if train else 10), kind

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index >= self.size:
            raise IndexError
        pixels = np.random.default_rng(index).integers(0, 90, (12, 12), dtype=np.uint8) + np.uint8(90 * (index % 2))
        return (Image.fromarray(pixels) if self.kind == "pil" else pixels), index % 2
"""
    },
    "inspect.md": {
        "mynet.py": """
from math import prod
from torch import nn

class MyNet(nn.Module):
    def __init__(self, in_shape, num_outputs, fault):
        super().__init__()
        self.hidden, self.head, self.fault = nn.Linear(prod(in_shape), 8), nn.Linear(8, num_outputs), fault

    def forward(self, images):
        hidden = self.hidden(images.flatten(1)).relu()
        return self.head(hidden.detach() if self.fault == "detached" else hidden)
""",
        "conf/model/mynet.yaml": """
_target_: mynet.MyNet
in_shape: ${data.in_shape}
num_outputs: ${data.num_outputs}
fault: none
""",
    },
    "problems.md": {
        "conf/metric/kappa.yaml": """# @package metric.kappa
_target_: torchmetrics.classification.MulticlassCohenKappa
num_classes: ${data.num_classes}
"""
    },
}
LEFT_OUT["models.md"] = {
    "mymod.py": LEFT_OUT["data.md"]["mymod.py"].replace("(12, 12)", "(28, 28)"),
    "conf/data/mine.yaml": "defaults: [_base]\nname: mine\ndataset: {_target_: mymod.MyData}\n",
}


def own_code(page: Path) -> dict[str, str]:
    """The files that a page shows, by their path; an outline with `...` in it is filled in."""
    text = page.read_text()
    files = {name: textwrap.dedent(block) for pattern in (NAMED, INDENTED) for name, block in pattern.findall(text)}
    return files | {name: block for block, name in HEADED.findall(text)} | LEFT_OUT.get(page.name, {})


def picture(path: Path, *, light: bool, number: int, size: tuple[int, int] = (16, 16), bits: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 90, size) + 120 * light
    Image.fromarray((pixels * 16).astype(np.uint16) if bits == 16 else pixels.astype(np.uint8)).save(path)


def make_data(place: Path) -> None:
    """Make the data that the pages name: folders of pictures, arrays, a table, MNIST and its kin."""
    for folder, parts in (
        ("photos", ("",)),
        ("pets", ("",)),
        ("classes", ("",)),
        ("pictures", ("train", "test")),
        ("xrays", ("",)),
        ("new", ("test",)),
    ):
        names = ("cat", "dog")
        for part in parts:
            for number in range(40):
                kind = number % len(names)
                path = place / folder / part / names[kind] / f"{number}.png"
                picture(path, light=kind == 1, number=number, bits=16 if folder == "xrays" else 8)
    for name, number in (("houses", 120), ("new", 5)):
        cells = [[20 + 3 * row % 90, ("Rome", "Oslo")[row % 2], 100 + 9 * row % 270 + 0.5] for row in range(number)]
        with (place / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["area", "city", "price"], *cells])
    make_columns(place)
    visits = [["file", "patient"]]
    for number in range(60):
        name = f"{('cat', 'dog')[number % 2]}/patient{number // 4:02}_{number}.png"
        picture(place / "scans" / name, light=number % 2 == 1, number=number)
        visits.append([name, str(number // 4)])
    with (place / "scans" / "visits.csv").open("w", newline="") as file:
        csv.writer(file).writerows(visits)
    lines, sizes = [["file", "labels"]], [["file", "height", "width"]]
    for number in range(40):
        picture(place / "scenes" / f"{number}.png", light=number % 2 == 1, number=number)
        lines.append([f"{number}.png", ";".join(["sky"] * (number % 2) + ["sea"] * (number % 3 == 0))])
        sizes.append([f"{number}.png", number / 3, 5.5 - number])
    for name, rows in (("labels", lines), ("sizes", sizes)):
        with (place / "scenes" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    food = [f"{'pie' if number % 2 else 'soup'}/{number}" for number in range(40)]
    for number, name in enumerate(food):
        picture(place / "food" / "images" / f"{name}.png", light=number % 2 == 1, number=number)
    write_files(place / "food", {"train.txt": "\n".join(food[:30]), "test.txt": "\n".join(food[30:])})
    for number in range(3):
        picture(place / "shots" / f"{number}.png", light=False, number=number, size=(28, 28))
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (60, 12, 12), dtype=np.uint8)
    colours = x[..., None].repeat(3, -1)
    both = {"x_train": x[:40], "x_test": x[40:]}
    kinds = {
        "my": np.arange(60) % 3,
        "heights": draw.normal(size=60).astype(np.float32),
        "ages": draw.normal(size=60).astype(np.float32),
        "defects": draw.integers(0, 2, (60, 3)),
    }
    make_texts(place / "reviews.csv", 60)
    (place / "my").mkdir()
    tokenizer = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "film": 2}, "unk_token": "[UNK]"},
    }
    (place / "my" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    days = np.datetime64("2024-01-01") + np.arange(60)
    np.savez(place / "visits.npz", x=x, y=kinds["my"], when=days)
    for name, y in kinds.items():
        np.savez(place / f"{name}.npz", y_train=y[:40], y_test=y[40:], **both)
    (place / "folder_of_npy").mkdir()
    for name, array in {"x_train": colours[:40], "x_test": colours[40:], "y_train": kinds["my"][:40]}.items():
        np.save(place / "folder_of_npy" / f"{name}.npy", array)
    np.save(place / "folder_of_npy" / "y_test.npy", kinds["my"][40:])
    with (place / "test.csv").open("w", newline="") as file:
        rows = draw.integers(0, 256, (5, 784)).tolist()
        titles = [f"pixel{number}" for number in range(784)]
        csv.writer(file).writerows([titles, *rows])
    with (place / "train.csv").open("w", newline="") as file:
        rows = draw.integers(0, 256, (60, 784)).tolist()
        csv.writer(file).writerows([["label", *titles], *([number % 3, *row] for number, row in enumerate(rows))])
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        write_files(place, mnist_files("DIR", name, num_train=1000, num_test=200))
    write_files(place, cifar_files("DIR", 10) | cifar_files("DIR", 100, num_train=400))


def make_columns(place: Path) -> None:
    """Make data sets with the pictures of the pets in a column."""
    cells = [(path.read_bytes(), path.parent.name == "dog") for path in sorted((place / "pets").rglob("*.png"))]
    images = pl.DataFrame({"image": [{"bytes": image, "path": None} for image, _ in cells]})
    named = images.with_columns(label=pl.Series([int(is_dog) for _, is_dog in cells]))
    kinds = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    save_splits(place / "saved", {"train": named, "test": named[::4]}, kinds)
    write_parquet(place / "train.parquet", named.with_columns(breed="label"), kinds | {"breed": kinds["label"]})


def train(place: Path, *words: str, stop: int | None = None) -> None:
    with stop_at(stop):
        outcome = run_here([*words, "trainer.progress=false", "data.limit=200"], place)
    assert outcome.code == (143 if stop else 0), outcome.err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pages")
    make_data(place)
    train(place, "trainer.epochs=1", "export=[safetensors,onnx]", "model=cnn", "hydra.run.dir=RUN")
    folder = ("data=folder", "data.root=photos", "data.batch_size=8")
    train(place, "trainer.epochs=1", "export=none", *folder, "hydra.run.dir=of_a_folder")
    table = ("data=table", "data.root=houses.csv", "data.target=price", "data.batch_size=8")
    train(place, "trainer.epochs=1", "export=none", *table, "hydra.run.dir=of_a_table")
    train(place, "trainer.epochs=2", "export=none", "model=cnn", "hydra.run.dir=stopped", stop=3)
    weights = nnrun.load(place / "RUN").state_dict()
    torch.save(weights, place / "mnist_cnn.pth")
    train(place, "model=resnet18", "model.stem=imagenet", "trainer.epochs=0", "export=none", "hydra.run.dir=resnet")
    torch.save(nnrun.load(place / "resnet").state_dict(), place / "resnet18.pth")
    return place


def arrange(folder: Path, place: Path, command: Shown) -> None:
    """Lay out what a command finds: data, the page's own code, the latest run, and a run of a date that it names."""
    folder.mkdir()
    for path in place.iterdir():
        if path.name not in ("outputs", "RUN"):
            (folder / path.name).symlink_to(path)
    write_files(folder, own_code(command.page))
    latest = folder / "outputs" / "2026-11-20" / "finished"
    if "model=mynet" in command.words:
        train(folder, "model=mynet", "trainer.max_steps=2", "export=none", f"hydra.run.dir={latest}")
    else:
        runs = {"data.root=new": "of_a_folder", "input=new.csv": "of_a_table"}
        run = next((run for word, run in runs.items() if word in command.words), "RUN")
        shutil.copytree(place / run, latest)
        (folder / "outputs" / "latest").symlink_to("2026-11-20/finished")
    (folder / "RUN").symlink_to(latest)
    for word in command.words:
        key, _, path = word.partition("=")
        if key == "runs" and path.startswith("["):
            for run in path.strip("[]").split(","):
                shutil.copytree(place / "RUN", folder / run, dirs_exist_ok=True)
        elif path.startswith("outputs/2"):
            shutil.copytree(place / ("stopped" if key == "resume" else "RUN"), folder / path)
        elif path.startswith("outputs/multirun/"):
            sweep = ("-m", "model=mlp", "seed=0,1", "trainer.max_steps=2", "export=none", f"hydra.sweep.dir={path}")
            assert run_here([*sweep], folder).code == 0


# What a command's names stand for where the page does not say which kind of data it is about.
STAND_FOR = {
    "runs=outputs/*/*cnn*": "runs=outputs/*/fin*",
    "data.root=DATA.npz loss.pos_weight": "data.root=defects.npz loss.pos_weight",
    "multilabel data=arrays data.root=DATA.npz": "multilabel data=arrays data.root=defects.npz",
    "data.root=DATA.npz": "data.root=ages.npz",
    "data=folder data.root=DIR data.labels={": "data=folder data.root=food data.labels={",
    "data=folder data.root=DIR data.labels": "data=folder data.root=scenes data.labels",
    "data=folder data.root=DIR": "data=folder data.root=photos",
    "trainer.max_minutes=0.5": "trainer.max_minutes=0.5 trainer.epochs=1",
    "validate_every_steps=1000 early_stopping.patience=10": "validate_every_steps=1 early_stopping.patience=1",
}


def made_small(words: tuple[str, ...]) -> list[str]:
    """Return the command with what keeps it short, where it does not say otherwise itself."""
    line = " ".join(words)
    for name, stands_for in STAND_FOR.items():
        line = line.replace(name, stands_for)
    words = tuple(line.split(" ")) if words else ()
    keys = {word.partition("=")[0] for word in words}
    if keys & {"resume", "init", "runs"} or "task=check" in words:
        return list(words)
    more = {"trainer.progress": "false"}
    if "ckpt" not in keys and "task=predict" not in words:
        more |= {"data.limit": "200", "data.batch_size": "8"}
    if not keys & {"ckpt", "task"}:
        more |= {"export": "none"} | (
            {} if keys & {"transfer.unfreeze_epoch", "trainer.max_minutes"} else {"trainer.max_steps": "2"}
        )
    if any(word.startswith("data=cifar") for word in words):
        more |= {"data.root": "DIR"}
    return [*words, *(f"{key}={value}" for key, value in more.items() if key not in keys)]


# The extras that a plain installation of the project for its developers has.
INSTALLED = ("timm", "metrics", "heic", "table")


def of_extras() -> str:
    """A pattern for the commands that need what `make test-docs` does not install: `make test-extras` runs them.

    The comments of conf/ say it: at the head of an option, or above a setting.
    """
    patterns = ["hydra/sweeper=optuna"]
    for path in sorted((TOP / "conf").glob("*/*.yaml")):
        group, option = path.parent.name, path.stem
        is_head, needs = True, False
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                needs |= any(extra not in INSTALLED for extra in re.findall(r"'nnrun\[(\w+)\]'", line))
                continue
            if needs:
                patterns.append(rf"{group}=\S*\b{option}\b" if is_head else rf"{group}\.{line.partition(':')[0]}=true")
            is_head = needs = False
    return "|".join(patterns)


OF_EXTRAS = of_extras()


def test_what_needs_an_extra_is_read_from_conf() -> None:
    """Negative control: a search and a logger that need none, and an extra that is installed."""
    needing = ["sweep=tpe", "sweep=gp", "logger=[csv,wandb]", "report.plots=true", "launch=slurm"]
    assert [word for word in needing if not re.search(OF_EXTRAS, word)] == []
    without = ["sweep=random", "logger=csv", "report.plots=false", "report=default", "model=timm", "launch=local"]
    assert [word for word in without if re.search(OF_EXTRAS, word)] == []


@pytest.mark.pages
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.extras] if re.search(OF_EXTRAS, str(command)) else [])
        for command in COMMANDS
        if not any(word in str(command) for word in ELSEWHERE)
    ],
    ids=str,
)
def test_a_command_that_a_page_shows_runs(command: Shown, place: Path, tmp_path: Path) -> None:
    arrange(tmp_path / "here", place, command)
    if "--help" in command.words:
        assert help_text(command.words)  # it comes before all else that a command does
        return
    words = made_small(command.words)
    if any(word.startswith("trainer.devices=") for word in words):  # a program's own process is not divided
        done = subprocess.run(
            [*NNRUN, *words], cwd=tmp_path / "here", env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    outcome = run_here(words, tmp_path / "here")
    assert (outcome.code != 0) == command.fails, outcome.err
    assert outcome.code in (0, 2, 4), outcome.err

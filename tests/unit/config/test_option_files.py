"""What the YAML files of options say to people, read line by line as YAML reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from omegaconf._utils import get_yaml_loader

from nnrun.config.folders import GROUPS, conf_dir, option_file, options
from nnrun.config.option_files import OptionFile, Setting, option_settings, place_of, read_option_file
from nnrun.config.yaml_files import read_yaml

FILES = sorted(path.relative_to(conf_dir()) for path in conf_dir().rglob("*.yaml"))
# What an auto.yaml names are options, by the kind of the data.
KINDS = {"images", "other", "tables", "texts", "classes", "labels", "values"}


def read(path: Path) -> OptionFile:
    return read_option_file(conf_dir() / path, path.parts[0] if len(path.parts) > 1 else "")


def leaves(tree: Mapping, prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def package_of(path: Path) -> str:
    lines = [line for line in (conf_dir() / path).read_text().splitlines() if line.startswith("# @package ")]
    package = lines[0].split()[2] if lines else path.parts[0] if len(path.parts) > 1 else "_global_"
    return "" if package == "_global_" else f"{package}."


@pytest.mark.parametrize("path", FILES, ids=str)
def test_settings_are_those_that_yaml_reads(path: Path) -> None:
    tree = read_yaml(conf_dir() / path)
    tree.pop("defaults", None)
    lines = (conf_dir() / path).read_text().splitlines()
    found = [setting for setting in read(path).settings if not setting.is_section]
    values = [(item.key, yaml.load(item.default, Loader=get_yaml_loader())) for item in found]
    assert values == list(leaves(tree, package_of(path)))
    for item in found:
        assert lines[item.line - 1].strip().replace('"', "").startswith(f"{item.key.rpartition('.')[2]}:")


def needs_no_comment(setting: Setting, group: str) -> bool:
    """A reference says what it follows; an experiment sets what others say; `none: {}` and kinds are no settings."""
    leaf = setting.key.rpartition(".")[2]
    return (
        setting.is_section
        or setting.default.startswith("${data.")
        or leaf in ("_target_", "hydra")
        or setting.key in (group, "data.name")
        or group == "experiment"
        or setting.key.startswith("hydra.")
        or (setting.path.stem == "auto" and leaf in KINDS)
    )


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in options(group, [])])
def test_every_setting_of_an_option_says_what_it_does(group: str, option: str) -> None:
    silent = [item.key for item in option_settings(group, option, []) if not item.comment]
    settings = {item.key: item for item in option_settings(group, option, [])}
    assert [key for key in silent if not needs_no_comment(settings[key], group)] == []


@pytest.mark.parametrize(("group", "option"), [(group, name) for group in GROUPS for name in options(group, ())])
def test_what_an_option_says_of_itself_is_whole_sentences(group: str, option: str) -> None:
    """Examples are listed apart: a sentence that leads to one would end in the middle, in the help and on the page."""
    path = option_file(group, option, ())
    assert path is not None
    assert read_option_file(path, group).description.endswith(".")


def test_every_setting_of_no_group_says_what_it_does_and_every_group_what_it_is() -> None:
    """Negative control: without its comment, a setting is found."""
    file = read(Path("config.yaml"))
    silent = [item.key for item in file.settings if not item.comment and not needs_no_comment(item, "")]
    assert silent == []
    # data=table chooses options of the groups before it; an experiment, of all.
    keys = [item.key for item in file.chooses]
    assert sorted(keys) == sorted(GROUPS)
    assert keys.index("tokenizer") < keys.index("data") > keys.index("trainer") and keys[-1] == "experiment"
    assert all(item.comment for item in file.chooses)
    assert not needs_no_comment(Setting("optimizer.lr", "0.1", "", Path("x.yaml"), 1), "optimizer")


OWN = """\
# @package model
# A network of my own, which is
# described in two lines.
#   nnrun model=mine
# what comes after the example is of the first setting
in_shape: ${data.in_shape}

# lost: an empty line follows

hidden: 16  # units
"quoted": 'a # b'
text: |
  not: a setting
  # nor a comment
many:
- 1
part:
  # within
  deep: {a: 1}  # a mapping
empty:
url: http://a#b
last: 1
"""


def test_a_file_of_ones_own_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    file = read_option_file(path, "model")
    assert file.description == "A network of my own, which is described in two lines."
    assert file.examples == ("nnrun model=mine",)
    rows = {item.key: (item.default, item.comment, item.line) for item in file.settings}
    assert rows == {
        "model.in_shape": ("${data.in_shape}", "what comes after the example is of the first setting", 6),
        "model.hidden": ("16", "units", 10),
        "model.quoted": ("'a # b'", "", 11),
        "model.text": ("|", "", 12),
        "model.many": ("null", "", 15),
        "model.part": ("", "", 17),
        "model.part.deep": ("{a: 1}", "within a mapping", 19),
        "model.empty": ("null", "", 20),
        "model.url": ("http://a#b", "", 21),
        "model.last": ("1", "", 22),
    }
    assert place_of(path, 3) == f"{path}, line 3"
    assert place_of(conf_dir() / "config.yaml") == "conf/config.yaml"


def test_what_an_option_starts_from_and_what_it_chooses_are_told_apart(tmp_path: Path) -> None:
    write = {
        "model/base.yaml": "# Base.\n# width of all\nwidth: 1\ndepth: 2\n",
        "model/mine.yaml": "# Mine.\ndefaults: [base, _self_]\n\nwidth: 3\n",
        "model/circle.yaml": "defaults:\n  - circle\n  - base\n",
        "experiment/e.yaml": "# @package _global_\ndefaults:\n  - override /model: mine  # said\n"
        "  - optional /data: mnist\n  - /logger: null\n\nmodel:\n  width: 5\n",
    }
    for name, text in write.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = option_settings("model", "mine", [tmp_path])
    assert [(item.key, item.default, item.path.name) for item in settings] == [
        ("model.width", "3", "mine.yaml"),
        ("model.depth", "2", "base.yaml"),
    ]
    assert [item.key for item in option_settings("model", "circle", [tmp_path])] == ["model.width", "model.depth"]
    file = read_option_file(tmp_path / "experiment" / "e.yaml", "experiment")
    assert [(item.key, item.default) for item in file.chooses] == [
        ("model", "mine"),
        ("data", "mnist"),
        ("logger", "null"),
    ]
    assert [(item.key, item.default) for item in file.settings if not item.is_section] == [("model.width", "5")]


def test_a_file_that_cannot_be_read_is_said_elsewhere(tmp_path: Path) -> None:
    """The help and the completion go on without it."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"# M\xe9.\nwidth: 1\n")
    assert [item.key for item in read_option_file(latin, "model").settings] == ["model.width"]
    assert read_option_file(tmp_path / "gone.yaml", "model").settings == ()
    (tmp_path / "folder.yaml").mkdir()
    assert read_option_file(tmp_path / "folder.yaml", "model").settings == ()

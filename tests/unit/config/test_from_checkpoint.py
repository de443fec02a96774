"""What a file of an earlier version means: what it does not say is the rule of its time, not today's default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf, open_dict
from torch import nn

from nnrun.assembly.network import preprocessing_of
from nnrun.base.open_file import OpenFile
from nnrun.base.targets import Targets
from nnrun.checkpoints.aliases import current_name
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.model_card import Card
from nnrun.checkpoints.saved_run import SavedNetwork
from nnrun.cli import compose
from nnrun.components.data.normalize import Normalize
from nnrun.config import source
from nnrun.config.from_checkpoint import MEANT_BEFORE, as_meant, as_meant_then, merge_saved
from nnrun.config.schema import SECTIONS

CONF = Path(__file__).parents[3] / "conf"
# Every setting that there was in 2a05829, whose files do not say what they mean of later ones.
BEFORE = {
    current_name(name): keys
    for name, keys in json.loads((Path(__file__).parents[2] / "data" / "settings_of_2a05829.json").read_text()).items()
}
# Settings of nnrun's own sections that came later, and whose absence means what their default means today.
AS_TODAY = {f"data.{key}" for key in ("targets", "labels", "target", "num_outputs", "facts")}
FOLDER = "nnrun.components.data.folder.Folder"


def test_what_is_absent_is_filled_in_by_section_and_by_class_wherever_it_stands() -> None:
    meant = {"data.split_by": "position", f"{FOLDER}.order": "bytes", "other.Class.order": "names", "depth": 3}
    saved = {"data": {"name": "mine", "dataset": {"_target_": FOLDER, "sets": [{"_target_": FOLDER, "order": "x"}]}}}
    filled = as_meant(saved, meant)
    assert filled["data"]["split_by"] == "position"
    assert filled["data"]["dataset"]["order"] == "bytes"
    assert filled["data"]["dataset"]["sets"] == [{"_target_": FOLDER, "order": "x"}], "what is said is left as it is"
    assert (filled["depth"], "order" in filled["data"], "order" in filled) == (3, False, False)
    assert "split_by" not in saved["data"], "what was read is not changed"


def test_a_checkpoint_of_an_earlier_version_keeps_the_rule_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the entry, or where the file says it, the default of today or its own word holds."""
    fresh = compose([]).config
    fresh.data.dataset.later, fresh.data.later = "new", "new"
    saved = compose([]).resolved()
    assert "later" not in merge_saved(saved, fresh, set(), keep_named=False).data.dataset
    assert merge_saved(as_meant(saved), fresh, set(), keep_named=False).data.later == "new"
    monkeypatch.setitem(MEANT_BEFORE, "data.later", "old")
    monkeypatch.setitem(MEANT_BEFORE, f"{saved['data']['dataset']['_target_']}.later", "old")
    for named in (set(), {"data"}):
        config = merge_saved(as_meant(saved), fresh, named, keep_named=False)
        assert (config.data.later, config.data.dataset.later) == ("old", "old"), named
    saved["data"]["later"] = "own"
    assert merge_saved(as_meant(saved), fresh, set(), keep_named=False).data.later == "own"


def test_a_preprocessing_of_an_earlier_version_is_built_as_it_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(Normalize):
        def __init__(self, mean: list[float], std: list[float], scale: float) -> None:
            super().__init__(mean, std)
            object.__setattr__(self, "scale", scale)

    plain = Normalize([0.5], [0.5]).to_plain()
    monkeypatch.setattr("nnrun.components.data.normalize.Normalize", Later)
    monkeypatch.setitem(MEANT_BEFORE, f"{plain['_target_']}.scale", 2.0)
    saved = SavedNetwork(Located(OpenFile(Path(__file__)), None), {}, Card({}, (), plain))
    meant = as_meant_then(saved).preprocessing
    assert preprocessing_of(meant, ["nnrun.components.data"]).scale == 2.0  # type: ignore[attr-defined]


def _parameters(node: Any) -> dict[str, set[str]]:
    """Return the parameters that sections list, by their class."""
    if not isinstance(node, Mapping):
        return {}
    own = {node["_target_"]: set(node) - {"_target_"}} if isinstance(node.get("_target_"), str) else {}
    return own | {target: names for value in node.values() for target, names in _parameters(value).items()}


def test_every_setting_that_came_later_says_what_its_absence_means() -> None:
    """A parameter that is added to a class of 2a05829, or a setting to one of its sections, needs an entry."""
    now: dict[str, set[str]] = {name: {field.name for field in fields(cls)} for name, cls in SECTIONS.items()}
    for path in sorted(CONF.rglob("*.yaml")):
        for target, names in _parameters(yaml.safe_load(path.read_text())).items():
            now.setdefault(target, set()).update(names)
    # Of one invocation, not of a run: no file holds them.
    sections = [name for name in BEFORE if name in now and name not in ("inspect", "predict")]
    later = {f"{name}.{key}" for name in sections for key in now[name] - set(BEFORE[name])}
    assert later - AS_TODAY <= MEANT_BEFORE.keys(), (
        "say in MEANT_BEFORE (config/from_checkpoint.py) what their absence means"
    )
    assert len(sections) > 30, "the list is of this project's classes"


def test_a_network_of_an_earlier_version_is_built_as_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `nnrun.load` reads is no merged config: it is filled in too."""
    from nnrun.assembly import loaded, network

    built: list[Mapping[str, Any]] = []
    section = {"_target_": "nnrun.components.models.cnn.CNN"}
    card = Card({"model": section}, Targets.classes("a"), Normalize([0.5], [0.5]).to_plain())
    monkeypatch.setattr(source, "locate", lambda path, _: Located(OpenFile(path), None))
    monkeypatch.setattr(source, "read_saved", lambda located: SavedNetwork(located, {(): {}}, card))
    monkeypatch.setattr(loaded, "load_weights", lambda *_: None)
    (tmp_path / "x.ckpt").touch()

    def build_network(node: Mapping[str, Any], *_: Any) -> Any:
        built.append(node)
        return nn.Linear(1, 1)

    monkeypatch.setattr(network, "build_network", build_network)
    monkeypatch.setitem(MEANT_BEFORE, "nnrun.components.models.cnn.CNN.pooling", "old")
    loaded.load_network(tmp_path / "x.ckpt", ())
    assert built == [{**section, "grid": 16384, "pooling": "old"}]


def test_a_run_of_before_the_order_of_classes_was_a_setting_has_the_order_of_texts() -> None:
    now = compose(["data=folder"]).resolved()
    assert (now["data"]["class_order"], now["data"]["dataset"]["class_order"]) == ("natural", "natural")
    then = compose(["data=folder"]).resolved()
    del then["data"]["class_order"], then["data"]["dataset"]["class_order"]
    meant = as_meant(then)
    assert (meant["data"]["class_order"], meant["data"]["dataset"]["class_order"]) == ("text", "text")


def test_secrets_in_a_list_of_an_option_s_file_take_the_place_of_those_left_out() -> None:
    """Negative controls: a group that is not named gives none, and a list without a secret stays as it was saved."""
    saved = compose([]).resolved()
    saved["model"] |= {"logins": {"tokens": ["***", {"a": "***"}]}, "widths": [1, 2], "keys": ["***"]}
    fresh = compose([]).config
    given = {"logins": {"tokens": ["one", {"a": "two"}]}, "widths": [3], "keys": ["x"]}
    with open_dict(fresh):
        fresh.model.update(given)
    filled = OmegaConf.to_container(merge_saved(saved, fresh, {"model"}, keep_named=False).model)
    assert filled["logins"] == given["logins"]
    assert (filled["widths"], filled["keys"]) == ([1, 2], ["***"])
    assert merge_saved(saved, fresh, set(), keep_named=False).model.logins.tokens[0] == "***"

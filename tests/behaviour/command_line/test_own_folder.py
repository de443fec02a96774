"""A user's own folder of options and the modules beside it: found, trusted when named, hiding nothing of ours."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from nnrun.config.schema import TrainerSettings
from support.command_line import OWN, OWN_MODULE, OWN_YAML, SHORT, Outcome, Row, assert_ended_as, write_files

pytestmark = pytest.mark.usefixtures("warm_python")

BESIDE = {"there/mine/model/mynet.yaml": OWN_YAML, "there/mynet.py": OWN_MODULE}
# Options that were written when the classes of nnrun lay in other modules.
OLDER = {
    "conf/model/older.yaml": (
        "_target_: nnrun.models.mlp.MLP\nin_shape: ${data.in_shape}\nnum_classes: ${data.num_classes}\n"
        "hidden: [8]\ndropout: 0.0\n"
    ),
    "conf/data/older.yaml": "defaults: [_base]\nname: older\ndataset:\n  _target_: nnrun.data.digits.Digits\n",
    "conf/loss/older.yaml": "_target_: nnrun.losses.focal.Focal\ngamma: 1.0\n",
    "conf/optimizer/older.yaml": "_target_: nnrun.optimizers.muon.MuonWithAdamW\nlr: 0.02\n",
    "conf/scheduler/older.yaml": (
        "_target_: nnrun.schedulers.cosine.WarmupCosine\ntotal_steps: null\nwarmup_fraction: 0.1\n"
    ),
    "conf/augment/older.yaml": (
        "# @package augment.older\n_target_: nnrun.augment.crop_flip.CropFlip\nin_shape: ${data.in_shape}\n"
        "padding: 1\nflip: 0.0\n"
    ),
    "conf/export/older.yaml": (
        "# @package export.older\n_target_: nnrun.exporters.onnx.OnnxExporter\npreprocess: true\noutput: scores\n"
        "opset: null\ntolerance: 1.0e-3\nmin_agreement: 0.999\n"
    ),
}
ALL_OLDER = [f"{path.split('/')[1]}=older" for path in OLDER]
# The config of another Hydra program: groups of the same names, options of the same names.
ANOTHERS = {
    "conf/config.yaml": "defaults:\n  - model: mlp\nlr: 1\n",
    "conf/model/mlp.yaml": "_target_: theirs.Mlp\n",
    "conf/optimizer/adam.yaml": "lr: 0.1\n",
}
IS_ANOTHERS = "conf belongs to another Hydra program (conf/config.yaml is its config) and is not used"
# An option of the user's own that lists only these; with a base it is whole.
PART = "epochs: 2\nlog_every_steps: 1\n"

ROWS: dict[str, Row] = {
    "own: trained": Row([*SHORT, "model=mynet"], 0, [], OWN, folder="own"),
    "own: not trusted": Row(["ckpt=outputs/latest"], 4, [], folder="own"),
    "own: wrongly trusted": Row(["ckpt=outputs/latest", "trust=[mine]"], 4, [], folder="own"),
    "own: trusted": Row(["ckpt=outputs/latest", "trust=[mynet]"], 0, [], folder="own"),
    "own: named": Row(["ckpt=outputs/latest", "model=mynet"], 0, [], folder="own"),
    "own: resumed, not trusted": Row(["resume=outputs/latest"], 4, [], folder="own"),
    "config-dir": Row(
        ["--config-dir", "mine", *SHORT, "model=mynet"],
        0,
        [],
        {"mine/model/mynet.yaml": OWN_YAML, "mynet.py": OWN_MODULE},
    ),
    "config-dir=": Row(
        ["--config-dir=mine", *SHORT[1:], "model=zzz"], 2, ["mynet"], {"mine/model/mynet.yaml": OWN_YAML}
    ),
    "no config-dir": Row(
        [*SHORT, "model=mynet"], 2, ["available: auto, bag, cnn"], {"mine/model/mynet.yaml": OWN_YAML}
    ),
    "beside: trained": Row(["--config-dir", "there/mine", *SHORT, "model=mynet"], 0, [], BESIDE, folder="beside"),
    "beside: evaluated": Row(
        ["--config-dir", "there/mine", "ckpt=outputs/latest", "trust=[mynet]"], 0, [], folder="beside"
    ),
    "beside: swept": Row(
        ["--config-dir", "there/mine", "-m", *SHORT, "model=mynet", "model.hidden=8,12", "hydra.sweep.dir=swept"],
        0,
        [],
        folder="beside",
    ),
    # Negative controls: without the folder, and with the module in the folder itself.
    "beside: not named": Row(["model._target_=mynet.MyNet"], 2, ["No module named 'mynet'"], folder="beside"),
    "within": Row(
        ["--config-dir", "mine", *SHORT, "model=mynet"],
        2,
        ["No module named 'mynet'"],
        {"mine/model/mynet.yaml": OWN_YAML, "mine/mynet.py": OWN_MODULE},
    ),
    "part of a trainer": Row(
        [*SHORT[1:4], "model=mlp", "trainer=part"], 2, ["trainer"], {"conf/trainer/part.yaml": PART}
    ),
    "part of a trainer, with its base": Row(
        [*SHORT[1:4], "model=mlp", "trainer=part"],
        0,
        [],
        {"conf/trainer/part.yaml": "defaults: [default]\n" + PART},
        folder="part",
    ),
    "older names: trained": Row([*SHORT, *ALL_OLDER, "early_stopping=none"], 0, [], OLDER, folder="older"),
    "older names: evaluated": Row(["ckpt=outputs/latest", "model=older", "export=older"], 0, [], folder="older"),
    "older names: swept": Row(["-m", *SHORT, "model=older,mlp", "hydra.sweep.dir=swept"], 0, [], folder="older"),
    "older names: typed": Row([*SHORT, "model=mlp", "model._target_=nnrun.models.mlp.MLP"], 0, [], folder="older"),
    # Negative control: a module that never was.
    "older names: none such": Row(
        [*SHORT, "model=mlp", "model._target_=nnrun.models.mpl.MLP"],
        2,
        ["nnrun.components.models.mpl.MLP cannot be imported"],
        folder="older",
    ),
    "another's: passed over": Row([*SHORT, "model=mlp"], 0, [], ANOTHERS, folder="another"),
    "another's: swept": Row(["-m", *SHORT, "model=mlp", "seed=0,1"], 0, [], folder="another"),
    "another's: left out": Row([*SHORT, "model=mlp", "--no-conf"], 0, [], folder="another"),
    "another's: one of its options": Row(
        [*SHORT, "model=theirs"], 2, ["model=theirs is not an option", IS_ANOTHERS], folder="another"
    ),
    "another's: named": Row(
        ["--config-dir=conf", *SHORT], 2, ["conf/model/mlp.yaml has the name of an option"], folder="another"
    ),
    # Where its config has another name, what it begins with tells.
    "another's: of another name": Row(
        [*SHORT, "model=mlp"],
        0,
        [],
        {"conf/train.yaml": "# Theirs.\ndefaults: [{model: mlp}]\n", "conf/model/mlp.yaml": "_target_: theirs.Mlp\n"},
        folder="train",
    ),
    # Negative control: without a config at its top it is a folder for nnrun, and its options must have other names.
    "ours: a clash": Row(
        [*SHORT, "model=mlp"], 2, ["ignore conf with --no-conf"], {"conf/model/mlp.yaml": "x: 1\n"}, folder="clash"
    ),
    "ours: left out": Row([*SHORT, "model=mlp", "--no-conf"], 0, [], folder="clash"),
    "ours: left out and named": Row(["--no-conf", "--config-dir=conf"], 2, ["exclude each other"], folder="clash"),
    "own: ours are not hidden": Row([*SHORT, "model=mlp"], 0, [], {"torch.py": "raise ImportError('not this one')"}),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_command_ends_with_its_exit_code(name: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert_ended_as(ROWS[name], rows[1][name])


def test_another_program_s_conf_is_passed_over_and_that_is_said(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """Negative control: with --no-conf nothing is said of it."""
    for name in ("another's: passed over", "another's: swept"):
        assert rows[1][name].out.count(f"note: {IS_ANOTHERS}; use it with --config-dir=conf\n") == 1
    assert "conf/train.yaml is its config" in rows[1]["another's: of another name"].out
    assert "Hydra" not in rows[1]["another's: left out"].out


def test_a_checkpoint_of_an_own_network_needs_trust(rows: tuple[Path, dict[str, Outcome]]) -> None:
    err = rows[1]["own: not trusted"].err
    assert "model._target_ is 'mynet.MyNet'" in err
    assert "trust=[mynet]" in err
    assert "model=" in err


def test_a_refusal_leaves_nothing_and_an_evaluation_its_own_directory(rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert rows[1]["own: not trusted"].created == []
    assert rows[1]["own: resumed, not trusted"].created == []
    trained = (rows[0] / "own" / "outputs" / "latest").resolve().relative_to(rows[0] / "own")
    for name in ("own: trusted", "own: named"):
        created = rows[1][name].created
        assert created
        assert not [path for path in created if Path(path).is_relative_to(trained)]


def test_modules_beside_the_folder_named_are_found_in_every_job(rows: tuple[Path, dict[str, Outcome]]) -> None:
    jobs = sorted((rows[0] / "beside" / "swept").glob("[0-9]*/summary.json"))
    assert [json.loads(job.read_text())["state"] for job in jobs] == ["finished"] * 2


def test_an_option_that_lists_only_some_keys_is_told_every_other(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """Negative control: with its base, which has the others, the same option trains as it says."""
    named = set(re.findall(r"\w+", rows[1]["part of a trainer"].err))
    listed = set(yaml.safe_load(PART))
    missing = {field.name for field in dataclasses.fields(TrainerSettings)} - listed
    assert len(missing) > 10
    assert missing <= named
    (summary,) = (rows[0] / "part").glob("outputs/2*/*/summary.json")
    assert json.loads(summary.read_text())["train"]["epochs"] == 2


def test_an_option_that_changes_while_the_program_runs_is_read_again(tmp_path: Path) -> None:
    """What Hydra made of the files is used again only while they are as they were; nobody's values stay in it."""
    write_files(tmp_path, OWN)
    words, own = ["model=mynet", "model.hidden=5"], [tmp_path / "conf"]
    assert compose(words, own).config.model.hidden == 5
    assert compose(words[:1], own).config.model.hidden == 16
    write_files(tmp_path, {"conf/model/mynet.yaml": OWN_YAML.replace("hidden: 16", "hidden: 204")})
    assert compose(words[:1], own).config.model.hidden == 204
    (tmp_path / "conf/model/mynet.yaml").unlink()
    with pytest.raises(ConfigError, match="model=mynet is not an option"):
        compose(words[:1], own)

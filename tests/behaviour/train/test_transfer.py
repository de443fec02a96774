"""Transfer learning from the command line: weights from a file, what is frozen and until when, and every resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torchvision import models

from nnrun.checkpoints.locate import locate
from support.command_line import Row, assert_ended_as, run_here, run_rows, write_files
from support.small_runs import assert_same_bits, resume, summary, train

NET = ("model=torchvision", "model.name=shufflenet_v2_x0_5")
# A network with BatchNorm and dropout, small enough for many runs.
CNN = ("model=cnn", "model.channels=[4,6]", "model.hidden=8", "model.batchnorm=true", "model.dropout=0.3")
FROZEN = ("transfer.freeze=backbone",)
THAWING = (*FROZEN, "transfer.unfreeze_epoch=2")
# All of it at once: groups with learning rates of their own, that change with every step.
ALL = (
    *(*THAWING, "transfer.layer_decay=0.7", "transfer.head_lr_factor=2", "transfer.no_decay_norms=true"),
    *("optimizer.weight_decay=0.05", "scheduler=onecycle", "early_stopping=none", "trainer.ema_decay=0.9"),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as torchvision's users have it: 1,000 classes, three channels."""
    path = tmp_path_factory.mktemp("päth = x") / "shufflenet.pth"
    torch.manual_seed(1)
    torch.save(models.shufflenet_v2_x0_5().state_dict(), path)
    return path


def numbers(row: dict) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, float)}


def best_weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(locate(run, "best").path, weights_only=True)["model"]


def test_from_a_file_of_torchvisions_only_the_head_trains(weights: Path, tmp_path: Path) -> None:
    words = [*NET, f"transfer.weights={weights}", *FROZEN, "trainer=debug", "data.limit=100", "hydra.run.dir=run"]
    done = run_here([*words, "export=none", "trainer.progress=false"], tmp_path)
    assert (done.code, done.err) == (0, "")
    assert f"starting from {weights}; the classifier fc is new: 10 classes here, 1,000 in the file; " in done.out
    assert "conv1.0 takes 1 channel, with the sum of the file's 3; loaded all other weights\n" in done.out
    assert "10,250 trainable parameters of 351,610\n" in done.out
    name = "torchvision's ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"
    assert (
        f"note: images of 28x28, normalized with mean [0.449] and std [0.226], as in the training of {name}\n"
        in done.out
    )
    prepared = torch.load(locate(tmp_path / "run", "best").path)["preprocessing"]
    assert (prepared["mean"], prepared["std"]) == ([pytest.approx(0.449)], [pytest.approx(0.226)])
    found, file = best_weights(tmp_path / "run"), torch.load(weights)
    torch.testing.assert_close(found["conv1.0.weight"], file["conv1.0.weight"].sum(1, keepdim=True), rtol=0, atol=0)
    same = [name for name in file if name in found and torch.equal(found[name], file[name])]
    assert set(file) - set(same) == {"conv1.0.weight", "fc.weight", "fc.bias"}
    assert torch.load(locate(tmp_path / "run", "best").path)["config"]["transfer"]["cache"] is True
    again = run_here([f"ckpt={tmp_path / 'run'}", "hydra.run.dir=again"], tmp_path)
    weights.rename(weights.with_suffix(".away"))
    try:
        without = run_here([f"ckpt={tmp_path / 'run'}", "hydra.run.dir=without"], tmp_path)
    finally:
        weights.with_suffix(".away").rename(weights)
    assert (again.code, without.code) == (0, 0), "an evaluation does not want the file"
    assert summary(tmp_path / "again")["metrics"] == summary(tmp_path / "run")["metrics"]


@pytest.mark.parametrize("words", [FROZEN, ALL, (*THAWING, "optimizer=muon", "trainer.precision=bf16")])
def test_with_the_features_kept_a_training_goes_as_without(words, tmp_path: Path) -> None:
    """To the bit in the first epoch, from whose batches the features are; later a sample stands elsewhere in its batch,
    and matrix products may round otherwise there.
    """
    assert train(tmp_path / "kept", *CNN, *words) == 0
    assert train(tmp_path / "anew", *CNN, *words, "transfer.cache=false") == 0
    kept, anew = tmp_path / "kept", tmp_path / "anew"
    ours, theirs = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (kept, anew)
    )
    first = [row for row in ours if row["epoch"] == 1]
    assert len(first) >= 3 and first == [row for row in theirs if row["epoch"] == 1]
    for row, other in zip(ours, theirs, strict=True):
        assert numbers(row) == pytest.approx(numbers(other), rel=1e-5)
    said = [(run / "run.log").read_text().count("caching the frozen backbone's features of") for run in (kept, anew)]
    assert said == [1, 0]
    if words is FROZEN:
        assert train(tmp_path / "free", *CNN) == 0
        free = json.loads((tmp_path / "free" / "metrics.jsonl").read_text().splitlines()[-1])
        assert numbers(free) != pytest.approx(numbers(ours[-1]), rel=1e-5), "the negative control"


# The polls of computing features: 6 batches and 3; then 6 steps and 3 batches of validation an epoch.
@pytest.mark.parametrize("stop", [4, 9 + 3, 9 + 8, 9 + 9 + 3, 9 + 9 + 8])
def test_a_resumed_training_has_the_bits_of_a_whole_one(stop: int, tmp_path: Path, whole_all: Path) -> None:
    """While features are computed, in the frozen epoch, in its validation, after unfreezing, in that validation."""
    run = tmp_path / "run"
    assert train(run, *CNN, *ALL, stop=stop) == 143
    assert resume(run) == 0
    assert_same_bits(run, whole_all)


@pytest.fixture(scope="module")
def whole_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(run, *CNN, *ALL) == 0
    return run


def test_unfreezing_changes_the_backbone_from_that_epoch_on(whole_all: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, *CNN, *ALL, stop=9 + 9 + 2) == 143, "two steps after unfreezing"
    before, after = (
        torch.load(run / "checkpoints" / entry["name"], weights_only=True)["training"]["network"]
        for entry in json.loads((run / "checkpoints" / "manifest.json").read_text())["files"][-2:]
    )
    assert not torch.equal(before["features.0.conv.weight"], after["features.0.conv.weight"])
    log = (whole_all / "run.log").read_text()
    assert f"{8 * 10 + 10} trainable parameters of " in log


def test_an_old_checkpoint_without_the_section_goes_on(tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert train(whole) == 0
    assert train(run, stop=12) == 143
    from nnrun.checkpoints.folder import CheckpointFolder

    payload = torch.load(locate(run, "last").path, weights_only=True)
    del payload["config"]["transfer"], payload["schema"]
    CheckpointFolder(run, keep_last=2).save(payload, payload["training"]["progress"]["step"], is_best=False)
    assert resume(run, "transfer.freeze=backbone") == 2, "the negative control: what is typed is compared"
    assert resume(run) == 0
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


FEW = {
    "conf/data/few.yaml": "# Digits below 7.\ndefaults:\n  - _base\n\nname: few\ndataset:\n  _target_: few.Few\n",
    "few.py": """\
import dataclasses
from nnrun.components.data.digits import Digits

class Few:
    def load(self):
        data = Digits().load()
        train, test = (part.subset((part.targets < 7).nonzero().flatten()) for part in (data.train, data.test))
        return dataclasses.replace(data, train=train, test=test, class_names=data.class_names[:7])
""",
}


def test_init_from_a_run_on_other_classes_takes_all_but_the_head(tmp_path: Path) -> None:
    write_files(tmp_path, FEW)
    short = ["trainer=debug", "data.limit=100", "export=none", "trainer.progress=false", *CNN]
    assert run_here([*short, "hydra.run.dir=ten"], tmp_path).code == 0
    words = [*short, "data=few", "init_from=ten", "transfer.freeze=backbone", "hydra.run.dir=few"]
    done = run_here(words, tmp_path)
    assert (done.code, done.err) == (0, "")
    line = "the classifier head is new: 7 classes here, 10 in the file; loaded all other weights\n"
    assert line in done.out.replace("\n", "\n")
    ten, few = best_weights(tmp_path / "ten"), best_weights(tmp_path / "few")
    assert all(torch.equal(ten[name], few[name]) for name in ten if not name.startswith("head."))
    assert few["head.weight"].shape == (7, 8)
    other = run_here([*words[:-1], "model.hidden=9", "hydra.run.dir=other"], tmp_path)
    assert other.code == 4, "the negative control: another network is none with another head"
    assert "does not fit the network" in other.err
    assert "its network was built with model.hidden=8; use the same" in other.err
    shutil.rmtree(tmp_path / "few")
    weights = run_here([*words[:-3], "transfer.weights=ten", "hydra.run.dir=few"], tmp_path)
    assert (weights.code, weights.err) == (0, "")


def test_weights_of_a_network_with_other_settings_name_these(tmp_path: Path) -> None:
    """As of a run of before model.grid, on larger images. Negative control: with the same setting they are loaded."""
    short = ["trainer=debug", "data.limit=100", "export=none", "trainer.progress=false", *CNN]
    assert run_here([*short, "model.grid=16", "hydra.run.dir=averaged"], tmp_path).code == 0
    words = [*short, "transfer.weights=averaged", "hydra.run.dir=next"]
    refused = run_here(words, tmp_path)
    assert refused.code == 4
    assert "its network was built with model.grid=16; use the same" in refused.err
    assert run_here([*words[:-1], "model.grid=16", "hydra.run.dir=same"], tmp_path).code == 0


ROWS: dict[str, Row] = {
    "misspelt": Row(["transfer.freez=backbone"], 2, ["did you mean 'transfer.freeze'?"]),
    "pattern": Row(["transfer.freeze=feature.*"], 2, ["matches feature.*; did you mean 'features.*' or "]),
    "everything": Row(["transfer.freeze=[head.*,hidden.*,features.*]"], 2, ["nothing would train"]),
    "head": Row(["transfer.freeze=backbone", "transfer.head=hed"], 2, ["did you mean 'head'?"]),
    "head for nothing": Row(["transfer.head=head"], 2, ["transfer.head=head has no effect"]),
    "epoch": Row(["transfer.freeze=backbone", "transfer.unfreeze_epoch=1"], 2, ["a whole number from 2 up"]),
    "late": Row(["transfer.freeze=backbone", "transfer.unfreeze_epoch=41"], 2, ["that epoch is never reached"]),
    "nothing frozen": Row(["transfer.unfreeze_epoch=2"], 2, ["nothing is frozen"]),
    "several": Row(
        ["transfer.freeze=backbone", "transfer.layer_decay=0.5", "transfer.backbone_lr_factor=0.1"],
        2,
        ["transfer.layer_decay=0.5 has no effect", "transfer.backbone_lr_factor=0.1 has no effect"],
    ),
    "factor": Row(["transfer.head_lr_factor=-1"], 2, ["a finite number above 0"]),
    "decay": Row(["transfer.no_decay_norms=true"], 2, ["set optimizer.weight_decay"]),
    "cache": Row(["transfer.cache=true"], 2, ["transfer.cache=true needs transfer.freeze=backbone, but it is none"]),
    "several weights": Row(["transfer.weights=null,x.pth"], 2, ["names several values; sweep over them with nnrun -m"]),
    "misspelt word": Row(["transfer.freeze=backbon"], 2, ["no parameter matches backbon; did you mean 'backbone'?"]),
    "missing": Row(["transfer.weights=my weights/ré=1.pth"], 4, ["my weights/ré=1.pth does not exist"]),
    "unpublished": Row(["transfer.weights=default"], 2, ["no weights are published for CNN"]),
    "two starts": Row(["transfer.weights=x", "init_from=."], 4, []),
    "a text": Row(["transfer.weights=x.pth"], 4, ["x.pth"], {"x.pth": "not weights"}),
    "a pickle": Row(["transfer.weights=x.pth"], 4, ["a bare pickle"], {"x.pth": "\x80\x04K\x01."}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    return run_rows(ROWS, tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("name", ROWS)
def test_what_has_no_meaning_is_an_error(name: str, outcomes) -> None:
    assert_ended_as(ROWS[name], outcomes[name])


@pytest.mark.parametrize("optimizer", ["sgd", "muon", "rmsprop"])
def test_what_was_frozen_trains_from_its_epoch_on_with_any_optimizer(tmp_path: Path, optimizer: str) -> None:
    """The first gradient of a frozen part comes when the others have a momentum already."""
    words = ("transfer.cache=false", "data.limit=100", f"optimizer={optimizer}", "trainer.epochs=3")
    assert train(tmp_path / "run", *CNN, *THAWING, *words) == 0
    assert summary(tmp_path / "run")["train"]["epochs"] == 3

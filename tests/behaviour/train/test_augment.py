"""Augmentation as a user meets it: what may be typed, what is refused, one's own, and that only training is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.folder import CheckpointFolder
from support.command_line import Row, assert_ended_as, run_here, run_rows, write_files
from support.small_runs import WORDS, assert_same_bits, manifest, resume, status, train

OWN = {
    "own.py": """\
import torch
class Speckle:
    def __init__(self, share=0.1, mood="good"):
        self.share, self.mood = share, mood
    def __call__(self, raw, generator):
        if self.mood == "float":
            return raw / 255
        if self.mood == "raises":
            raise ValueError("no")
        return torch.where(torch.rand(raw.shape, generator=generator, device=raw.device) < self.share, 0, raw)
class Blend:
    def mix(self, inputs, others, generator):
        return 0.6 * inputs + 0.4 * others, torch.full((len(inputs),), 0.6, device=inputs.device)
class Nothing:
    pass
""",
    "conf/augment/speckle.yaml": "# @package augment.speckle\n_target_: own.Speckle\nshare: 0.1\nmood: good\n",
    "conf/augment/blend.yaml": "# @package augment.blend\n_target_: own.Blend\n",
    "conf/augment/nothing.yaml": "# @package augment.nothing\n_target_: own.Nothing\n",
    "conf/augment/unpacked.yaml": "_target_: own.Speckle\n",
    "conf/experiment/noisy.yaml": "# @package _global_\ndefaults:\n  - override /augment: [digits, mixup]\n",
}
SHORT = ("trainer=debug", "model=mlp", "data.limit=200", "export=none", "trainer.progress=false")

ROWS: dict[str, Row] = {
    "unknown option": Row(["augment=digit"], 2, ["augment=digit is not an option; did you mean 'digits'?"]),
    "unknown option in a list": Row(["augment=[digits,mixupp]"], 2, ["augment=mixupp is not an option", "'mixup'"]),
    "none beside another": Row(["augment=[none,mixup]"], 2, ["names none beside another option"]),
    "misspelt key": Row(
        ["augment=digits", "augment.digits.degree=5"], 2, ["augment.digits.degree is not", "'augment.digits.degrees'"]
    ),
    "misspelt key in a list of an experiment": Row(
        ["experiment=noisy", "augment.digits.degree=5"], 2, ["did you mean 'augment.digits.degrees'?"], OWN
    ),
    "setting of another option": Row(["augment=digits", "augment.mixup.alpha=1"], 2, ["augment.mixup has no _target_"]),
    "setting of none": Row(["augment.digits.degrees=5"], 2, ["augment.digits has no _target_: choose", "augment=..."]),
    "degrees text": Row(["augment=digits", "augment.digits.degrees=x"], 2, ["degrees is 'x'; allowed: a finite"]),
    "degrees negative": Row(["augment=digits", "augment.digits.degrees=-1"], 2, ["from 0 to 180"]),
    "shift above 1": Row(["augment=digits", "augment.digits.shift=2"], 2, ["augment.digits.shift is 2; allowed"]),
    "shear 90": Row(["augment=digits", "augment.digits.shear=90"], 2, ["from 0 and below 90"]),
    "scale of one": Row(["augment=digits", "augment.digits.scale=[1]"], 2, ["allowed: [from, to], each a finite"]),
    "scale falling": Row(["augment=digits", "augment.digits.scale=[2,1]"], 2, ["in rising order"]),
    "scale from 0": Row(["augment=digits", "augment.digits.scale=[0,1]"], 2, ["augment.digits.scale is [0, 1]"]),
    "padding 1.5": Row(["augment=crop_flip", "augment.crop_flip.padding=1.5"], 2, ["padding is 1.5; allowed: a whole"]),
    "flip above 1": Row(["augment=crop_flip", "augment.crop_flip.flip=1.1"], 2, ["crop_flip.flip is 1.1"]),
    "hue above a half": Row(["augment=color", "augment.color.hue=0.6"], 2, ["from 0 to 0.5"]),
    "area above 1": Row(
        ["augment=erasing", "augment.erasing.area=[0.1,1.5]"], 2, ["augment.erasing.area is [0.1, 1.5]"]
    ),
    "fill": Row(["augment=erasing", "augment.erasing.fill=white"], 2, ["fill is 'white'; allowed: noise, black"]),
    "alpha 0": Row(["augment=mixup", "augment.mixup.alpha=0"], 2, ["augment.mixup.alpha is 0; allowed"]),
    "trust": Row(
        ["augment=digits", "augment.digits._target_=os.system"], 2, ["augment.digits._target_=os.system", "not"]
    ),
    "no augmentation": Row(["augment=nothing"], 2, ["is not an Augmentation or a Mixing"], OWN),
    "without a package": Row(
        ["augment=unpacked"], 2, ["begin your own option's file with '# @package augment.NAME'"], OWN
    ),
    # What the data decides: before the first step, after the data is read.
    "the color of gray": Row(
        ["augment=color", *SHORT], 2, ["gray; add augment.color.saturation=0 augment.color.hue=0"]
    ),
    "one's own that raises": Row(
        ["augment=speckle", "augment.speckle.mood=raises", *SHORT],
        2,
        ["augment.speckle fails with ValueError: no (", "own.py"],
        OWN,
    ),
    "one's own that makes floats": Row(
        ["augment=speckle", "augment.speckle.mood=float", *SHORT], 2, ["augment.speckle returns torch.float32"], OWN
    ),
    # The negative controls: what is right trains.
    "one's own": Row(["augment=[speckle,blend,digits]", *SHORT], 0, [], OWN),
    "an experiment's list": Row(["experiment=noisy", "augment.digits.degrees=5", *SHORT], 0, [], OWN),
    "brightness of gray": Row(["augment=color", "augment.color.saturation=0", "augment.color.hue=0", *SHORT], 0, []),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_rows(ROWS, tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_typed_is_taken_or_refused_with_the_way_out(outcomes: dict, name: str) -> None:
    assert_ended_as(ROWS[name], outcomes[name])


@pytest.fixture(scope="module")
def augmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("augmented") / "run"
    assert train(run, "augment=[digits,erasing,mixup,cutmix]") == 0
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / manifest(run)["last"], weights_only=True)["model"]


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_order_typed_does_not_matter(augmented: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "run", "augment=[cutmix,mixup,erasing,digits]") == 0
    assert rows(tmp_path / "run") == rows(augmented)
    ours = weights(augmented)
    assert all(torch.equal(weight, ours[name]) for name, weight in weights(tmp_path / "run").items())


@pytest.mark.parametrize("words", [["data.residency=memory"], ["data.residency=stream", "data.num_workers=2"]])
def test_where_the_samples_lie_changes_no_bit(augmented: Path, tmp_path: Path, words: list[str]) -> None:
    assert train(tmp_path / "run", "augment=[digits,erasing,mixup,cutmix]", *words) == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (augmented / "metrics.jsonl").read_bytes()


def test_negative_control_each_part_and_each_seed_changes_the_bits(
    whole: Path, augmented: Path, tmp_path: Path
) -> None:
    assert train(tmp_path / "less", "augment=[digits,erasing,mixup]") == 0
    assert train(tmp_path / "seed", "augment=[digits,erasing,mixup,cutmix]", "seed=1") == 0
    losses = [rows(run)[0]["loss"] for run in (whole, augmented, tmp_path / "less", tmp_path / "seed")]
    assert len(set(losses)) == 4


def test_training_alone_is_augmented(tmp_path: Path) -> None:
    """At a rate of nothing the network stays as it was, and so do validation and test; the training does not."""
    words = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.epochs=1", "model.dropout=0"]
    assert train(tmp_path / "plain", *words) == 0
    assert train(tmp_path / "augmented", *words, "augment=[digits,mixup]") == 0
    for split, same in (("train", False), ("valid", True), ("test", True)):
        ours, theirs = (
            [row for row in rows(tmp_path / run) if row["split"] == split] for run in ("plain", "augmented")
        )
        assert ours
        assert (ours == theirs) == same


def test_a_resumed_run_keeps_its_augmentation_and_takes_no_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    assert train(run, "augment=digits", stop=3) == 143
    capsys.readouterr()
    for words, says in (
        (["augment=none"], "augment"),
        (["augment=[digits,mixup]"], "augment.mixup: None ->"),
        (["augment.digits.degrees=45"], "augment.digits.degrees: 10.0 -> 45"),
    ):
        assert resume(run, *words) == 2
        err = capsys.readouterr().err
        assert "cannot change on resume" in err
        assert says in err
    assert resume(run, "augment=digits") == 0, "the same, said again"
    assert train(tmp_path / "whole", "augment=digits") == 0
    assert_same_bits(run, tmp_path / "whole")


def test_a_run_from_before_there_were_augmentations_goes_on(stopped: Path, whole: Path) -> None:
    path = stopped / "checkpoints" / manifest(stopped)["last"]
    payload = torch.load(path, weights_only=True)
    assert payload["config"]["augment"] == {}
    del payload["config"]["augment"], payload["schema"]
    CheckpointFolder(stopped, keep_last=2).save(payload, payload["training"]["progress"]["step"], is_best=False)
    assert resume(stopped) == 0
    assert rows(stopped) == rows(whole)


def test_an_evaluation_has_no_augmentation_and_says_so(augmented: Path, tmp_path: Path) -> None:
    outcome = run_here([f"ckpt={augmented}", "augment=crop_flip", f"hydra.run.dir={tmp_path / 'e'}"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "augment has no effect with ckpt=: nothing is trained" in outcome.out
    plain = run_here([f"ckpt={augmented}", f"hydra.run.dir={tmp_path / 'p'}"], tmp_path)
    assert "has no effect" not in plain.out, "the negative control"
    found = [
        json.loads((path / "summary.json").read_text())["metrics"]
        for path in (augmented, tmp_path / "e", tmp_path / "p")
    ]
    assert found[0] == found[1] == found[2]


def test_a_checkpoint_names_augmentations_of_ours_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Resuming a stranger's run must not import what it names; naming one's own module in trust= is how it is meant."""
    write_files(tmp_path, OWN)
    run = tmp_path / "run"
    assert run_here([*WORDS, "augment=speckle", "trainer.max_steps=4", f"hydra.run.dir={run}"], tmp_path).code == 0
    words = [f"resume={run}", "trainer.max_steps=4", "trainer.epochs=4"]
    refused = run_here(words, tmp_path)
    assert refused.code == 4
    assert "augment.speckle._target_ is 'own.Speckle', which nnrun does not ship" in refused.err
    assert status(run)["state"] == "finished"
    assert "own.Speckle" not in run_here([*words, "trust=[own]"], tmp_path).err
    assert run_here([f"ckpt={run}"], tmp_path).code == 0, "an evaluation does not build it, and needs no trust"

"""What a wrong name may mean, by its spelling or by what other frameworks call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import did_you_mean
from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import options
from nnrun.config.meant import hint_by_meaning, hint_for_key, hint_for_option, hint_for_value, hint_for_word

KNOWN = list(Catalogue().defaults)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("data.batch", "did you mean 'data.batch_size'?"),
        ("optimizer.learning_rate", "did you mean 'optimizer.lr'?"),
        ("trainer.max_time", "did you mean 'trainer.max_minutes'?"),
        ("trainer.time_budget", "did you mean 'trainer.max_minutes'?"),
        ("max_epochs", "did you mean 'trainer.epochs'?"),  # Lightning
        ("trainer.accelerator", "did you mean 'trainer.device'?"),
        ("trainer.num_gpus", "did you mean 'trainer.devices'?"),
        ("trainer.gradient_clip_val", "did you mean 'trainer.grad_clip_norm'?"),
        ("trainer.accumulate_grad_batches", "did you mean 'trainer.accumulate'?"),
        ("trainer.fast_dev_run", "did you mean 'trainer=debug'?"),
        ("validation_split", "did you mean 'data.val_fraction'?"),  # Keras
        ("imgsz", "did you mean 'data.image_size'?"),  # Ultralytics
        ("lr0", "did you mean 'optimizer.lr'?"),
        ("workers", "did you mean 'data.num_workers'?"),
        ("amp", "did you mean 'trainer.precision'?"),
        ("model.drop_rate", "did you mean 'model.dropout'?"),  # timm
        ("clip-grad", "did you mean 'trainer.grad_clip_norm'?"),
        ("bs", "did you mean 'data.batch_size'?"),  # fastai
        ("num_train_epochs", "did you mean 'trainer.epochs'?"),  # Hugging Face
        ("per_device_train_batch_size", "did you mean 'data.batch_size'?"),
        ("output_dir", "did you mean 'hydra.run.dir'?"),
        ("lr_scheduler", "did you mean 'scheduler'?"),
        # a setting that the chosen option has not
        ("warmup_ratio", "did you mean 'scheduler.warmup_fraction (of scheduler=cosine, scheduler=warmup_cosine)'?"),
        ("loss.gamma", "loss=focal has it"),
        ("optimizer.name", "an option is chosen by the group itself: optimizer=adam"),
        # what is right here in another place, and what is misspelt
        ("lr", "did you mean 'optimizer.lr'?"),
        ("weight_decay", "did you mean 'optimizer.weight_decay'?"),
        ("patience", "did you mean 'early_stopping.patience'?"),
        ("trainer.epoch", "did you mean 'trainer.epochs'?"),
        ("trainer.zzz", ""),
    ],
)
def test_a_key_that_nothing_reads(key: str, hint: str) -> None:
    assert hint_for_key(key, KNOWN) == hint


@pytest.mark.parametrize(
    ("group", "name", "hint"),
    [
        ("model", "resnet50", "did you mean 'model=torchvision model.name=resnet50'?"),
        ("model", "ViT-B-16", "did you mean 'model=torchvision model.name=vit_b_16'?"),
        ("model", "ResNet-18", "did you mean 'model=resnet18'?"),
        ("model", "tf_efficientnet_b0", "did you mean 'model=timm model.name=tf_efficientnet_b0'?"),
        ("optimizer", "AdamW", "did you mean 'optimizer=adamw'?"),
        ("loss", "CrossEntropyLoss", "did you mean 'loss=cross_entropy'?"),
        ("scheduler", "ReduceLROnPlateau", "did you mean 'scheduler=plateau'?"),
        ("data", "FashionMNIST", "did you mean 'data=fashion_mnist'?"),
        ("data", "SVHN", "did you mean 'data=torchvision data.dataset.name=SVHN'?"),
        ("experiment", "base", "did you mean 'experiment=tutorial/base'?"),
        ("model", "adam", "did you mean 'optimizer=adam'?"),
        ("model", "cnnn", "did you mean 'cnn'?"),
        ("optimizer", "zzz", ""),
        ("model", "ViT-B/16", "did you mean 'model=torchvision model.name=vit_b_16'?"),
        ("model", "efficientnet", "did you mean 'model=torchvision model.name=efficientnet_b0'?"),
        ("model", "resnet", "did you mean 'resnet18'?"),
        ("augment", "False", "did you mean 'augment=none'?"),
        ("scheduler", "True", "an option is chosen by its name, such as scheduler=cosine;"),
    ],
)
def test_an_option_that_there_is_not(group: str, name: str, hint: str) -> None:
    assert hint_for_option(group, name, options(group, ())) == hint


@pytest.mark.parametrize(
    ("group", "name", "says"),
    [
        ("model", "yolo11n.pt", "object detection is not a task of nnrun"),
        ("model", "UNet", "segmentation is not a task of nnrun"),
        ("model", "bert-base", "networks for texts are bag, textcnn"),
        ("augment", "True", "augment=crop_flip for photographs or augment=digits for digits"),
        ("transfer", "True", "transfer.weights=default"),
        ("metric", "f1", "early_stopping.monitor="),
        ("logger", "comet", "docs/extending.md shows a custom one"),
    ],
)
def test_what_is_not_here_is_said_with_what_to_do(group: str, name: str, says: str) -> None:
    hint = hint_for_option(group, name, options(group, ()))
    assert says in hint
    assert hint.endswith(";"), "the options that there are follow"


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("epochs", "3", "did you mean 'trainer.epochs=3'?"),
        ("--lr", "0.1", "did you mean 'optimizer.lr=0.1'?"),
        ("--batch-size", "32", "did you mean 'data.batch_size=32'?"),
        ("--model", "resnet50", "did you mean 'model=torchvision model.name=resnet50'?"),
        ("resnet50", "", "did you mean 'model=torchvision model.name=resnet50'?"),
        ("mnist", "", "did you mean 'data=mnist'?"),
        ("digits", "", "did you mean 'data=digits' or 'augment=digits'?"),
        ("trial", "", "did you mean 'task=trial'?"),
        ("hello", "", ""),
        ("--api-key", "x", ""),
    ],
)
def test_a_word_that_is_neither_flag_nor_setting(name: str, value: str, hint: str) -> None:
    assert hint_by_meaning(name, value, ["trial"]) == hint


def test_a_word_that_is_near_a_group_is_told_last() -> None:
    assert (hint_by_meaning("modl"), hint_for_word("modl")) == ("", "did you mean 'model'?")


def test_a_value_is_told_by_its_spelling_and_by_what_it_is_called_elsewhere() -> None:
    words = ["auto", "fp32", "bf16", "fp16"]
    assert hint_for_value("trainer.precision", "bf61", words) == "did you mean 'bf16'?"
    assert hint_for_value("trainer.precision", "16-mixed", words) == "did you mean 'fp16'?"
    assert hint_for_value("trainer.precision", 32, words) == "did you mean 'fp32'?"
    assert hint_for_value("trainer.precision", "zzzz", words) == ""
    assert hint_for_value("trainer.precision", True, words) == ""


def test_one_letter_of_three_may_be_wrong() -> None:
    """Two may not."""
    assert did_you_mean("npx", ["npz", "onnx"]) == "did you mean 'npz'?"
    assert did_you_mean("coutn", ["count"]) == "did you mean 'count'?"
    assert did_you_mean("abz", ["npz"]) == ""


def test_data_named_alone_and_flags_without_dashes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    (tmp_path / "cnn").mkdir()
    hint = "did you mean 'data=folder data.root=\"my photos\"'?"
    assert hint_for_word("my photos") == hint_for_option("data", "my photos", options("data", ())) == hint
    assert hint_for_word("cnn") == "did you mean 'model=cnn'?"
    assert "folder" not in hint_for_option("model", "my photos", options("model", ()))
    for name in ("train.csv", "my.npz", "notes.txt"):
        (tmp_path / name).write_text("")
    for name in ("train.csv", "my.npz"):
        hint = f"did you mean 'data=arrays data.root={name}'?"
        assert hint_for_word(name) == hint_for_option("data", name, options("data", ())) == hint
    assert hint_for_word("notes.txt") == hint_for_word("gone.csv") == ""
    assert hint_for_word("help") == "did you mean '--help'?"

"""Allowed values of the networks' parameters. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import FRACTION, POSITIVE, SIDE, Range, is_integer, one_of, several, whole

RANGES = {
    "model.dropout": FRACTION,
    "model.hidden": Range(
        lambda v: (is_integer(v) and v >= 1) or several(whole(1)).holds(v),
        "a whole number from 1 up, or a list of them",
    ),
    "model.channels": Range(
        lambda v: v != [] and several(whole(1)).holds(v),
        "a list of numbers, at least one, each a whole number from 1 up",
    ),
    "model.grid": SIDE,
    "model.depth": whole(1),
    "model.width": POSITIVE,
    "model.members": whole(1),
    "model.number_size": whole(1),
    "model.category_size": whole(1),
    "model.dim": whole(1),
    "model.filters": whole(1),
    "model.ngrams": whole(1, 2),
    "model.buckets": whole(1),
    "model.heads": whole(1),
    "model.widths": Range(
        lambda v: v != [] and several(whole(1)).holds(v),
        "a list of numbers, at least one, each a whole number from 1 up",
    ),
    "model.stem": one_of("auto", "imagenet", "small"),
}

_MODELS = "nnrun.components.models"
# The kinds of samples that each network takes; of classes that are not listed, nothing is said.
DATA_KINDS: dict[str, tuple[str, ...]] = {
    f"{_MODELS}.mlp.MLP": ("images", "tables", "other"),
    f"{_MODELS}.hf.HuggingFace": ("images", "texts"),
    **{f"{_MODELS}.{name}": ("images",) for name in ("cnn.CNN", "vgg.VGG", "resnet18.ResNet18")},
    **{f"{_MODELS}.{name}": ("images",) for name in ("timm.Timm", "torchvision.Torchvision")},
    **{f"{_MODELS}.{name}": ("tables",) for name in ("tabular.Tabular", "tabm.TabM", "linear.LinearModel")},
    **{f"{_MODELS}.{name}": ("texts",) for name in ("bag.Bag", "recurrent.GRU", "recurrent.LSTM")},
    **{f"{_MODELS}.{name}": ("texts",) for name in ("textcnn.TextCNN", "text_transformer.TextTransformer")},
}

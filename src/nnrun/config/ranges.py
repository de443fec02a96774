"""What each value may be: the rules, by full key, and how they are written. Needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d+|mps")
VALID_METRICS = ("valid/loss", "valid/accuracy", "valid/top5_accuracy", "valid/precision", "valid/recall", "valid/f1")


@dataclass(frozen=True)
class Rule:
    """What a value may be, as a test and in words."""

    holds: Callable[[Any], bool]
    allowed: str


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is an integer or a float, finite or not; true and false are not."""
    return is_whole(value) or isinstance(value, float)


def whole(low: int, high: int | None = None, *, null: bool = False) -> Rule:
    """Allow integers from low to high, both included."""
    words = f"a whole number from {low} {'up' if high is None else f'to {high}'}" + (" or null" if null else "")
    return Rule(lambda v: (null and v is None) or (is_whole(v) and v >= low and (high is None or v <= high)), words)


def number(low: float, high: float = math.inf, *, above: bool = False, below: bool = False, null: bool = False) -> Rule:
    """Allow finite numbers from low to high; `above` and `below` leave the bounds themselves out."""

    def holds(value: Any) -> bool:
        if value is None:
            return null
        if not is_number(value) or not math.isfinite(value):
            return False
        return (value > low if above else value >= low) and (value < high if below else value <= high)

    words = f"a finite number {'above' if above else 'from'} {low:g}"
    words += "" if high == math.inf else f" {'and below' if below else 'to'} {high:g}"
    return Rule(holds, words + ("" if above or high < math.inf else " up") + (" or null" if null else ""))


def several(rule: Rule, length: int | None = None) -> Rule:
    """Allow a list of values that each keep a rule."""
    return Rule(
        lambda v: isinstance(v, list) and (length is None or len(v) == length) and all(rule.holds(item) for item in v),
        f"a list of {length or 'numbers'}{' numbers' if length else ''}, each {rule.allowed}",
    )


def one_of(*options: str) -> Rule:
    """Allow the words named."""
    return Rule(lambda v: v in options, ", ".join(options))


FRACTION = number(0, 1)
POSITIVE = number(0, above=True)
NOT_NEGATIVE = number(0)
TITLE = Rule(lambda v: isinstance(v, str) and v.strip() != "", "the title of a column")
ANGLE = number(0, 180)


def span(low: float, high: float = math.inf) -> Rule:
    """Allow two numbers in rising order, above `low` and up to `high`."""
    each = number(low, high, above=True)
    pair = several(each, 2)
    return Rule(lambda v: pair.holds(v) and v[0] <= v[1], f"[from, to], each {each.allowed}, in rising order")


BETAS = several(number(0, 1, below=True), 2)
CLASS_WEIGHTS = Rule(
    lambda v: v is None or v == "balanced" or (several(NOT_NEGATIVE).holds(v) and any(v)),
    "null, balanced, or a list of a finite number from 0 up for each class, not all 0",
)


def _exports(*formats: str) -> dict[str, Rule]:
    """Return the rules for what all formats have."""
    rules = {"output": one_of("scores", "probabilities"), "tolerance": POSITIVE, "min_agreement": FRACTION}
    return {f"export.{name}.{key}": rule for name in formats for key, rule in rules.items()}


RULES: dict[str, Rule] = {
    "seed": whole(0, 2**63 - 1),
    "data.root": Rule(lambda v: isinstance(v, str) and v != "", "the path of a folder"),
    "data.batch_size": whole(1),
    "data.eval_batch_size": whole(1),
    "data.val_fraction": number(0, 1, below=True),
    "data.split_seed": whole(0, 2**63 - 1),
    "data.limit": whole(1, null=True),
    "data.num_workers": whole(0, 256),
    "data.image_size": Rule(
        lambda v: v is None or whole(1, 16384).holds(v) or several(whole(1, 16384), 2).holds(v),
        "a whole number from 1 to 16384, two of them as [height, width], or null",
    ),
    "data.channels": Rule(lambda v: v is None or (is_whole(v) and v in (1, 3)), "1, 3 or null"),
    "data.white": Rule(
        lambda v: v in ("auto", None) or POSITIVE.holds(v), "auto, null or a number above 0, such as 255, 1023 or 4095"
    ),
    "data.num_classes": whole(2, null=True),
    "data.dataset.test_fraction": number(0, 1, above=True, below=True, null=True),
    "data.dataset.mean": Rule(lambda v: v is None or several(number(-math.inf)).holds(v), "a list of numbers, or null"),
    "data.dataset.std": Rule(lambda v: v is None or several(POSITIVE).holds(v), "a list of numbers above 0, or null"),
    "data.dataset.options": Rule(lambda v: isinstance(v, dict), "parameters by name, such as {split: letters}"),
    "data.dataset.layout": one_of("auto", "NHW", "NCHW", "NHWC"),
    "trainer.device": Rule(
        lambda v: isinstance(v, str) and DEVICE.fullmatch(v) is not None, "auto, cpu, cuda, cuda:1 (a number), mps"
    ),
    "trainer.epochs": whole(0),
    "trainer.max_steps": whole(1, null=True),
    "trainer.accumulate": whole(1),
    "trainer.grad_clip_norm": number(0, above=True, null=True),
    "trainer.ema_decay": number(0, 1, above=True, below=True, null=True),
    "trainer.max_nonfinite": whole(1),
    "trainer.checkpoint_every_steps": whole(1, null=True),
    "trainer.keep_last": whole(2),
    "trainer.log_every_steps": whole(1),
    "inspect.steps": whole(5),
    "inspect.depth": whole(1, null=True),
    "transfer.weights": Rule(
        lambda v: v is None or (isinstance(v, str) and v != ""), "default, the path of a file or of a run, or null"
    ),
    "transfer.freeze": Rule(
        lambda v: v != [] and all(isinstance(name, str) and name for name in (v if isinstance(v, list) else [v])),
        "none, backbone, or names of parameters, such as conv1.* or [conv1.*, layer1.*]",
    ),
    "transfer.unfreeze_epoch": whole(2, null=True),
    "transfer.head_lr_factor": POSITIVE,
    "transfer.backbone_lr_factor": POSITIVE,
    "transfer.layer_decay": number(0, 1, above=True, null=True),
    "predict.top_k": whole(1, null=True),
    "predict.id_column": TITLE,
    "predict.label_column": TITLE,
    "early_stopping.monitor": one_of(*VALID_METRICS),
    "early_stopping.patience": whole(1),
    "early_stopping.min_delta": NOT_NEGATIVE,
    "model.dropout": FRACTION,
    "model.hidden": Rule(
        lambda v: (is_whole(v) and v >= 1) or several(whole(1)).holds(v), "a whole number from 1 up, or a list of them"
    ),
    "model.channels": Rule(
        lambda v: v != [] and several(whole(1)).holds(v),
        "a list of numbers, at least one, each a whole number from 1 up",
    ),
    "model.depth": whole(1),
    "model.width": POSITIVE,
    "model.stem": one_of("auto", "imagenet", "small"),
    "loss.weight": CLASS_WEIGHTS,
    "loss.alpha": CLASS_WEIGHTS,
    "loss.class_counts": Rule(
        lambda v: v is None or (several(whole(0)).holds(v) and len(v) > 1), "null or a list of whole numbers from 0 up"
    ),
    "loss.gamma": NOT_NEGATIVE,
    "loss.label_smoothing": number(0, 1, below=True),
    "augment.digits.degrees": ANGLE,
    "augment.digits.shift": FRACTION,
    "augment.digits.scale": span(0),
    "augment.digits.shear": number(0, 90, below=True),
    "augment.crop_flip.padding": whole(0),
    "augment.crop_flip.flip": FRACTION,
    "augment.color.brightness": NOT_NEGATIVE,
    "augment.color.contrast": NOT_NEGATIVE,
    "augment.color.saturation": NOT_NEGATIVE,
    "augment.color.hue": number(0, 0.5),
    "augment.trivialaugment.probability": FRACTION,
    "augment.erasing.probability": FRACTION,
    "augment.erasing.area": span(0, 1),
    "augment.erasing.ratio": span(0),
    "augment.erasing.fill": one_of("noise", "black"),
    "augment.mixup.alpha": number(0.01, 100),
    "augment.cutmix.alpha": number(0.01, 100),
    "optimizer.lr": POSITIVE,
    "optimizer.adamw_lr": POSITIVE,
    "optimizer.betas": BETAS,
    "optimizer.adamw_betas": BETAS,
    "optimizer.eps": NOT_NEGATIVE,
    "optimizer.adamw_eps": NOT_NEGATIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.adamw_weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": number(0, 1, below=True),
    "optimizer.alpha": number(0, 1, below=True),
    "optimizer.dampening": FRACTION,
    "optimizer.lr_decay": NOT_NEGATIVE,
    "optimizer.momentum_decay": NOT_NEGATIVE,
    "optimizer.ns_steps": whole(1, 99),
    "scheduler.step_size": whole(1),
    "scheduler.total_steps": whole(1, null=True),
    "scheduler.gamma": number(0, above=True),
    "scheduler.factor": number(0, 1, above=True, below=True),
    "scheduler.patience": whole(0),
    "scheduler.warmup_fraction": number(0, 1, below=True),
    "scheduler.threshold": NOT_NEGATIVE,
    "scheduler.cooldown": whole(0),
    "scheduler.eps": NOT_NEGATIVE,
    "scheduler.div_factor": number(1),
    "scheduler.final_div_factor": number(1),
    "scheduler.base_momentum": number(0, 1, below=True),
    "scheduler.max_momentum": number(0, 1, below=True),
    "scheduler.min_lr": NOT_NEGATIVE,
    "scheduler.max_lr": POSITIVE,
    "scheduler.pct_start": FRACTION,
    "scheduler.anneal_strategy": one_of("cos", "linear"),
    "scheduler.threshold_mode": one_of("rel", "abs"),
    "scheduler.milestones": several(number(0, 1, above=True, below=True)),
    "export.onnx.opset": whole(18, 25, null=True),
    "export.onnx_int8.calibration_samples": whole(1),
    "export.onnx_int8.max_accuracy_drop": FRACTION,
    "export.torchserve.top_k": whole(1),
    **_exports("onnx", "onnx_int8", "torchscript", "pt2", "safetensors", "torchserve"),
}

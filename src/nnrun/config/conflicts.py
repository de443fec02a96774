"""Settings that are each right and wrong together, and what is said of them. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


def natural_mode(metric: str) -> Literal["min", "max"]:
    """Return whether a smaller or a larger value of a metric is better."""
    return "min" if metric.endswith("loss") else "max"


@dataclass(frozen=True)
class Clash:
    """Settings that are each right and wrong together: their keys, the test on their values, what to say."""

    keys: tuple[str, ...]
    holds: Callable[..., bool]
    message: str


# Data sets whose samples are pixels, whatever files they are read from.
OF_PIXELS = ("nnrun.components.data.folder.Folder", "nnrun.components.data.torchvision_sets.TorchvisionDataset")


def _in_0_to_1(numbers: Sequence[float]) -> bool:
    """Return whether numbers can be a mean or a deviation of pixels in 0..1."""
    return all(0 <= number <= 1 for number in numbers)


CLASHES = (
    Clash(("ckpt", "resume"), lambda a, b: a and b, "ckpt and resume exclude each other; name one of them"),
    Clash(("ckpt", "init_from"), lambda a, b: a and b, "ckpt and init_from exclude each other; name one of them"),
    Clash(("resume", "init_from"), lambda a, b: a and b, "resume and init_from exclude each other; name one of them"),
    Clash(
        ("task", "ckpt"),
        lambda task, ckpt: task == "evaluate" and not ckpt,
        "task=evaluate needs ckpt=: a run directory or a checkpoint file",
    ),
    Clash(
        ("task", "ckpt"),
        lambda task, ckpt: task == "train" and ckpt,
        "task=train and ckpt exclude each other; init_from= starts a new run from a checkpoint's weights",
    ),
    Clash(
        ("task", "ckpt"),
        lambda task, ckpt: task == "predict" and not ckpt,
        "task=predict needs ckpt=: a run directory, a checkpoint file, or an ONNX file that nnrun exported",
    ),
    Clash(
        ("task", "input"),
        lambda task, path: task == "predict" and not path,
        "task=predict needs input=: an image, a folder, a pattern in quotes, or - for paths from standard input",
    ),
    Clash(
        ("task", "resume"),
        lambda task, resume: task == "predict" and resume,
        "task=predict and resume exclude each other; ckpt= predicts with the network of a run",
    ),
    Clash(
        ("task", "init_from"),
        lambda task, path: task == "predict" and path,
        "task=predict and init_from exclude each other; name the checkpoint with ckpt=",
    ),
    Clash(
        ("task", "resume"),
        lambda task, resume: task == "inspect" and resume,
        "task=inspect and resume exclude each other; ckpt= inspects the network of a run",
    ),
    Clash(
        ("predict.id_column", "predict.label_column"),
        lambda id_column, label_column: id_column is not None and id_column == label_column,
        "predict.id_column and predict.label_column are both {}; give the columns two names",
    ),
    Clash(
        ("input", "task"), lambda path, task: path and task != "predict", "input={} has no effect without task=predict"
    ),
    Clash(
        ("trainer.device", "trainer.precision"),
        lambda device, precision: device == "cpu" and precision == "fp16",
        "trainer.precision=fp16 and trainer.device=cpu exclude each other; a CPU takes fp32 or bf16",
    ),
    Clash(
        ("trainer.device", "trainer.cuda_graph"),
        lambda device, graph: device in ("cpu", "mps") and graph is True,
        "trainer.cuda_graph=true and trainer.device={} exclude each other",
    ),
    # Of a run that goes on, or is measured, the mean is what it was.
    Clash(
        ("data.dataset.mean", "data.dataset._target_", "ckpt", "resume"),
        lambda mean, target, *goes_on: mean and target in OF_PIXELS and not any(goes_on) and not _in_0_to_1(mean),
        "data.dataset.mean={} is not of pixels in 0..1; divide it by 255, or leave it out to have it measured",
    ),
    Clash(
        ("data.dataset.std", "data.dataset._target_", "ckpt", "resume"),
        lambda std, target, *goes_on: std and target in OF_PIXELS and not any(goes_on) and not _in_0_to_1(std),
        "data.dataset.std={} is not of pixels in 0..1; divide it by 255, or leave it out to have it measured",
    ),
    Clash(
        ("data.num_workers", "data.residency"),
        lambda workers, residency: workers and residency != "stream",
        "data.num_workers={} has an effect only with data.residency=stream",
    ),
    Clash(
        ("data.val_fraction", "early_stopping"),
        lambda fraction, section: fraction == 0 and section,
        "data.val_fraction=0 leaves early stopping nothing to watch; add early_stopping=none",
    ),
    Clash(
        ("data.val_fraction", "scheduler._target_"),
        lambda fraction, target: fraction == 0 and str(target).endswith("ReduceLROnPlateau"),
        "data.val_fraction=0 leaves scheduler=plateau nothing to watch; choose another scheduler",
    ),
    Clash(
        ("early_stopping.mode", "early_stopping.monitor"),
        lambda mode, monitor: mode in ("min", "max") and mode != natural_mode(monitor),
        "early_stopping.mode={} would choose the worst weights by {}; leave it at auto",
    ),
    Clash(
        ("loss.class_counts", "loss.weight", "loss.alpha", "loss._target_"),
        lambda counts, weight, alpha, target: (
            counts and "balanced" not in (weight, alpha) and str(target).startswith("nnrun.")
        ),
        "loss.class_counts has an effect only with loss.weight=balanced or, of the focal loss, loss.alpha=balanced",
    ),
    Clash(
        ("transfer.weights", "init_from"),
        lambda weights, source: weights and source,
        "transfer.weights={} and init_from={} exclude each other: a network starts from one of them",
    ),
    Clash(
        ("transfer.unfreeze_epoch", "transfer.freeze"),
        lambda epoch, freeze: epoch is not None and freeze == "none",
        "transfer.unfreeze_epoch={} has no effect with transfer.freeze=none: nothing is frozen",
    ),
    Clash(
        ("transfer.unfreeze_epoch", "trainer.epochs"),
        lambda epoch, epochs: epoch is not None and epoch > epochs > 0,
        "transfer.unfreeze_epoch={} has no effect with trainer.epochs={}: the epoch does not come",
    ),
    Clash(
        ("transfer.backbone_lr_factor", "transfer.freeze", "transfer.unfreeze_epoch"),
        lambda factor, freeze, epoch: factor != 1 and freeze == "backbone" and epoch is None,
        "transfer.backbone_lr_factor={} has no effect with transfer.freeze={}: the backbone never trains",
    ),
    Clash(
        ("transfer.layer_decay", "transfer.freeze", "transfer.unfreeze_epoch"),
        lambda decay, freeze, epoch: decay is not None and freeze == "backbone" and epoch is None,
        "transfer.layer_decay={} has no effect with transfer.freeze={}: the backbone never trains",
    ),
    Clash(
        ("transfer.cache", "transfer.freeze"),
        lambda cache, freeze: cache is True and freeze != "backbone",
        "transfer.cache=true needs transfer.freeze=backbone, and it is {1}",
    ),
    Clash(
        ("transfer.cache", "augment"),
        lambda cache, augment: cache is True and augment,
        "transfer.cache=true and augment exclude each other: an augmented image has other features each time",
    ),
    Clash(
        ("transfer.no_decay_norms", "optimizer.weight_decay", "optimizer.adamw_weight_decay"),
        lambda spares, decay, other: spares and not decay and not other,
        "transfer.no_decay_norms=true has no effect: the optimizer decays no weight; set optimizer.weight_decay",
    ),
    Clash(
        (
            *("transfer.head", "transfer.weights", "init_from", "transfer.freeze", "transfer.layer_decay"),
            *("transfer.head_lr_factor", "transfer.backbone_lr_factor"),
        ),
        lambda head, weights, source, freeze, decay, *factors: (
            head and not weights and not source and freeze != "backbone" and decay is None and factors == (1, 1)
        ),
        "transfer.head={} has no effect: no setting asks which layer is the head",
    ),
    Clash(
        ("optimizer.nesterov", "optimizer.momentum"),
        lambda nesterov, momentum: nesterov and momentum == 0,
        "optimizer.nesterov=true needs a momentum above 0; add optimizer.nesterov=false",
    ),
    Clash(
        ("optimizer.nesterov", "optimizer.dampening"),
        lambda nesterov, dampening: nesterov and dampening,
        "optimizer.nesterov=true needs optimizer.dampening=0",
    ),
    Clash(
        ("optimizer.fused", "optimizer.foreach"),
        lambda fused, foreach: fused and foreach,
        "optimizer.fused=true and optimizer.foreach=true exclude each other",
    ),
)

# Sections that only one task reads.
TASK_SECTIONS = {"inspect": "inspect", "predict": "predict"}
# Settings of a prediction that one of its formats alone reads.
_FORMAT_KEYS = {"predict.top_k": "csv"} | dict.fromkeys(
    ("predict.id", "predict.id_column", "predict.label_column"), "kaggle"
)


def idle_words(keys: Iterable[str], tree: Mapping[str, Any]) -> list[str]:
    """Return a message for each key of the command line that the task chosen does not read."""
    problems = []
    for key in keys:
        task = TASK_SECTIONS.get(key.partition(".")[0])
        if task is not None and tree.get("task") != task:
            problems.append(f"{key} has no effect without task={task}")
        elif key == "inspect.steps" and not (tree.get("inspect") or {}).get("overfit"):
            problems.append(f"{key} has an effect only with inspect.overfit=true")
        elif key in _FORMAT_KEYS and (tree.get("predict") or {}).get("format") != _FORMAT_KEYS[key]:
            problems.append(f"{key} has an effect only with predict.format={_FORMAT_KEYS[key]}")
        elif key.partition(".")[0] == "export" and tree.get("task") == "predict":
            problems.append("export has no effect with task=predict: it makes no artifact; nnrun export=... ckpt= does")
    return problems

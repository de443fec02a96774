"""Settings that are valid separately but not together, and the messages about them. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from nnrun.config.typed_paths import SOURCE_KEYS


@dataclass(frozen=True)
class Conflict:
    """Settings that are valid separately but not together: their keys, the test on their values, the message.

    `clashes` is true for values that exclude each other. The message is reported under the first key.
    """

    keys: tuple[str, ...]
    clashes: Callable[..., bool]
    message: str


CONFLICTS = (
    *(
        Conflict(pair, lambda a, b: a and b, f"{pair[0]} and {pair[1]} exclude each other; name one of them")
        for pair in combinations(SOURCE_KEYS, 2)
    ),
    Conflict(
        ("trainer.precision", "trainer.device"),
        lambda precision, device: device == "cpu" and precision == "fp16",
        "trainer.precision=fp16 and trainer.device=cpu exclude each other; use fp32 or bf16 on a CPU",
    ),
    Conflict(
        ("trainer.max_minutes", "trainer.max_steps"),
        lambda minutes, steps: minutes is not None and steps is not None,
        "trainer.max_minutes={} and trainer.max_steps={} exclude each other: the budget sets the number of steps",
    ),
    Conflict(
        ("trainer.max_minutes", "trainer.epochs"),
        lambda minutes, epochs: minutes is not None and epochs == 0,
        "trainer.max_minutes={} has no effect with trainer.epochs={}: nothing is trained",
    ),
    Conflict(
        ("trainer.sync_batchnorm", "trainer.compile"),
        lambda syncs, compiles: syncs and compiles is not False,
        "trainer.sync_batchnorm=true and trainer.compile={1} exclude each other",
    ),
    Conflict(
        ("data.num_workers", "data.residency"),
        lambda workers, residency: workers and residency != "stream",
        "data.num_workers={} has an effect only with data.residency=stream",
    ),
    Conflict(
        ("data.fold", "data.num_folds"),
        lambda fold, num_folds: num_folds is not None and fold > num_folds,
        "data.fold={} is not one of the data.num_folds={} parts, which are counted from 1",
    ),
    Conflict(
        ("data.val_fraction", "early_stopping", "data.num_folds"),
        lambda fraction, section, num_folds: fraction == 0 and section and num_folds is None,
        "data.val_fraction=0 leaves early stopping nothing to monitor; add early_stopping=none",
    ),
    Conflict(
        ("transfer.weights", "init_from"),
        lambda weights, source: weights and source,
        "transfer.weights={} and init_from={} exclude each other: a network starts from one of them",
    ),
    Conflict(
        ("transfer.unfreeze_epoch", "transfer.freeze"),
        lambda epoch, freeze: epoch is not None and freeze == "none",
        "transfer.unfreeze_epoch={} has no effect with transfer.freeze=none: nothing is frozen",
    ),
    Conflict(
        ("transfer.unfreeze_epoch", "trainer.epochs"),
        lambda epoch, epochs: epoch is not None and epoch > epochs > 0,
        "transfer.unfreeze_epoch={} has no effect with trainer.epochs={}: that epoch is never reached",
    ),
    Conflict(
        ("transfer.backbone_lr_factor", "transfer.freeze", "transfer.unfreeze_epoch"),
        lambda factor, freeze, epoch: factor != 1 and freeze == "backbone" and epoch is None,
        "transfer.backbone_lr_factor={} has no effect with transfer.freeze={}: the backbone never trains",
    ),
    Conflict(
        ("transfer.layer_decay", "transfer.freeze", "transfer.unfreeze_epoch"),
        lambda decay, freeze, epoch: decay is not None and freeze == "backbone" and epoch is None,
        "transfer.layer_decay={} has no effect with transfer.freeze={}: the backbone never trains",
    ),
    Conflict(
        ("transfer.cache", "transfer.freeze"),
        lambda cache, freeze: cache is True and freeze != "backbone",
        "transfer.cache=true needs transfer.freeze=backbone, but it is {1}",
    ),
    Conflict(
        ("transfer.cache", "augment"),
        lambda cache, augment: cache is True and augment,
        "transfer.cache=true and augment exclude each other: augmented images have different features each time",
    ),
    Conflict(
        ("transfer.no_decay_norms", "optimizer.weight_decay", "optimizer.adamw_weight_decay"),
        lambda spares, decay, other: spares and not decay and not other,
        "transfer.no_decay_norms=true has no effect without weight decay; set optimizer.weight_decay",
    ),
    Conflict(
        (
            *("transfer.head", "transfer.weights", "init_from", "transfer.freeze", "transfer.layer_decay"),
            *("loss._target_", "transfer.head_lr_factor", "transfer.backbone_lr_factor"),
        ),
        lambda head, weights, source, freeze, decay, loss, *factors: (
            head
            and not weights
            and not source
            and freeze != "backbone"
            and decay is None
            and factors == (1, 1)
            # A custom loss may take the head's input features.
            and str(loss).startswith(("nnrun.", "torch."))
        ),
        "transfer.head={} has no effect: no setting uses the head",
    ),
)

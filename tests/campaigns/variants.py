"""The tiny training that campaigns disturb, and what else its future may depend on."""

from __future__ import annotations

from pathlib import Path

# 200 pictures of 6x6 each: with several labels, and with values of about 1e9 and 1e-9.
_DATA = Path(__file__).parents[1] / "data"

# 163 training samples in 6 batches, 37 for validation in 3, dropout; a checkpoint of 160 kB after each of 36 steps. On
# the CPU: other devices do not promise the same bits.
WORDS = (
    "model=mlp",
    "model.hidden=[16]",
    "data.limit=200",
    "data.val_fraction=0.2",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "trainer.device=cpu",
    "trainer.epochs=6",
    "trainer.checkpoint_every_steps=1",
    "trainer.log_every_steps=1",
    "trainer.progress=false",
    "export=none",
)
# What a training's future may depend on, each by itself and some together: a new feature joins with a line. A short
# form tries the first ones.
VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "many at once": (
        *("trainer.accumulate=2", "trainer.ema_decay=0.9", "trainer.grad_clip_norm=0.5", "trainer.precision=bf16"),
        *("scheduler=onecycle", "optimizer=adamw", "augment=[digits,erasing,mixup]"),
    ),
    "stream": ("data.residency=stream", "data.num_workers=2"),
    "cnn": ("model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.dropout=0.5"),
    "early stopping": ("optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=4", "trainer.epochs=9"),
    "validated within epochs": ("trainer.validate_every_steps=4", "scheduler=plateau", "scheduler.patience=0"),
    "augment": ("augment=[digits,erasing,mixup]",),
    "batchnorm": ("model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.batchnorm=true"),
    "streamed augment": ("augment=[crop_flip,cutmix]", "data.residency=stream", "data.num_workers=1"),
    "focal": ("loss=focal", "loss.alpha=balanced"),
    "labels": (
        "data=arrays",
        f"data.root={_DATA / 'labelled.npz'}",
        "loss.pos_weight=balanced",
        "trainer.ema_decay=0.9",
    ),
    "values": ("data=arrays", f"data.root={_DATA / 'valued.npz'}", "loss=huber", "early_stopping.monitor=valid/r2"),
    "skip": ("trainer.nonfinite=skip",),
    "accumulate": ("trainer.accumulate=2",),
    "transfer": (
        *("model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.dropout=0.5", "model.batchnorm=true"),
        *("transfer.freeze=backbone", "transfer.unfreeze_epoch=3", "transfer.layer_decay=0.5"),
    ),
    "ema": ("trainer.ema_decay=0.9",),
    "clip": ("trainer.grad_clip_norm=0.5",),
    "bf16": ("trainer.precision=bf16",),
    "max_steps": ("trainer.max_steps=33",),
    "a callback besides": (
        "+callback.again={_target_: nnrun.components.callbacks.early_stopping.EarlyStopping, monitor: valid/accuracy, "
        "mode: max, patience: 99, min_delta: 0.0, counted: epochs}",
    ),
    "memory": ("data.residency=memory",),
    "muon": ("optimizer=muon",),
    "sgd": ("optimizer=sgd", "optimizer.momentum=0.9"),
    "cosine": ("scheduler=cosine",),
    "exponential": ("scheduler=exponential", "scheduler.gamma=0.5"),
    "multistep": ("scheduler=multistep",),
    "onecycle": ("scheduler=onecycle",),
    "plateau": ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"),
    "step": ("scheduler=step", "scheduler.step_size=1"),
    "warmup_cosine": ("scheduler=warmup_cosine", "scheduler.warmup_fraction=0.5"),
}

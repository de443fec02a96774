"""Run directories as a training leaves them, written in a moment: for what reads many of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.base.sample_results import SampleResults
from nnrun.config.yaml_files import yaml_text
from nnrun.runs.samples import write_samples

NAMES = ("cat", "dog")


def config(**changed: Any) -> dict[str, Any]:
    """The settings of a run; `changed` by full key, with __ for the dots."""
    tree: dict[str, Any] = {
        "model": {"_target_": "nnrun.components.models.mlp.MLP", "hidden": [128], "dropout": 0.2},
        "data": {"name": "digits", "root": "data", "val_fraction": 0.1, "split_seed": 0, "batch_size": 32},
        "problem": {"_target_": "nnrun.components.problems.classification.Classification"},
        "loss": {"_target_": "nnrun.components.losses.cross_entropy.CrossEntropy", "label_smoothing": 0.0},
        "augment": {},
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
        "scheduler": None,
        "trainer": {"epochs": 2, "device": "auto", "progress": "auto"},
        "early_stopping": {"monitor": "valid/loss", "mode": "auto", "patience": 5, "min_delta": 0.0},
        "seed": 0,
        "task": "auto",
    }
    for key, value in changed.items():
        *sections, leaf = key.split("__")
        node = tree
        for section in sections:
            node = node[section]
        node[leaf] = value
    return tree


def write_run(  # noqa: PLR0913 - each says one thing about the run
    path: Path,
    *,
    loss: float = 0.5,
    right: Sequence[bool] | None = (True,) * 8 + (False,) * 2,
    results: SampleResults | None = None,
    metrics: Mapping[str, Any] | None = None,
    state: str = "finished",
    started: str = "2026-11-26T10:00:00+00:00",
    status: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """Write a run directory; `right` says which test samples the run has right, `changed` are its settings."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml_text(config(**changed)))
    (path / "overrides.yaml").write_text("[]\n")
    said = {"schema": 1, "task": "train", "state": state, "pid": 1, "started": started, "reason": None}
    (path / "status.json").write_text(json.dumps({**said, **(status or {})}))
    (path / "environment.json").write_text(json.dumps({"schema": 1, "versions": {"nnrun": "0.6.0"}, "device": "cpu"}))
    rows = [
        {"step": 42 * epoch, "epoch": epoch, "split": split, "loss": loss + 1.0 / epoch, "accuracy": 0.5}
        for epoch in (1, 2)
        for split in ("train", "valid")
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    if results is None and right is not None:
        results = results_of(right)
    if results is not None:
        write_samples(results, path)
    if state != "finished":
        return path
    accuracy = float(np.mean(right)) if right is not None else 0.5
    found = metrics or {"valid/loss": loss, "valid/accuracy": 1 - loss / 2, "test/accuracy": accuracy}
    (path / "summary.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "task": "train",
                "state": "finished",
                "run": str(path),
                "metrics": found,
                "monitor": "valid/loss",
                "mode": "min",
                "headline": "accuracy",
                "best": {"epoch": 2, "step": 84},
                "wall_seconds": 1.5,
                **(summary or {}),
            }
        )
    )
    return path


def results_of(
    right: Sequence[bool], paths: Sequence[str] | None = None, names: Sequence[str] = NAMES
) -> SampleResults:
    """The results of two classes that are right for some samples; every second one is a dog."""
    are_right = np.array(right, dtype=bool)
    targets = np.arange(len(right)) % 2
    predicted = np.where(are_right, targets, 1 - targets).astype(np.int32)
    sure = np.linspace(0.6, 0.9, len(right))
    predictions = np.stack([np.where(predicted == 0, sure, 1 - sure), np.where(predicted == 1, sure, 1 - sure)], 1)
    return SampleResults(
        kind="classes",
        names=tuple(names),
        num_samples=len(right),
        indices=np.arange(len(right)),
        targets=targets,
        predictions=predictions.astype(np.float16),
        losses=-np.log(predictions[np.arange(len(right)), targets]).astype(np.float32),
        are_right=are_right,
        predicted=predicted,
        paths=None if paths is None else tuple(paths),
    )


def values_of(predictions: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> SampleResults:
    """The results of predicted values `(N, K)`."""
    return SampleResults(
        kind="values",
        names=tuple(f"value {number}" for number in range(targets.shape[1])),
        num_samples=len(targets),
        indices=np.arange(len(targets)),
        targets=targets.astype(np.float32),
        predictions=predictions.astype(np.float32),
        losses=np.square(predictions - targets).mean(1).astype(np.float32),
        are_right=np.zeros(len(targets), dtype=bool),
    )

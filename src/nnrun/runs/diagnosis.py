"""What is wrong with how a training learns, from its rows of metrics: rows in, warnings in words out. Needs no torch.

Good training is never called bad: each rule needs several signs at once, or a sign that no good training gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

# Validations and updates before anything is said about how a training learns.
LEAST_STAGES, LEAST_STEPS = 3, 50
# Validations after which a training that learns nothing is reported before its end.
_MANY_STAGES = 5
# Validation samples below which a score says too little.
_LEAST_SAMPLES = 30
# Trivial guesses that are right more often leave too little room for a comparison.
_HIGH_BASELINE = 0.8
# Relative changes of the weights since the start: hardly any, and more than a good training makes without learning.
_STILL, _FAR = 0.01, 2.0
# A loss that falls by less is nearly flat.
FLAT = 0.97


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and what usually helps. It is reported once for each `key`."""

    key: str
    text: str


@dataclass(frozen=True)
class Known:
    """What is known besides the rows.

    `baseline` is what the best constant guess gets of the main metric on the `num_valid` validation samples, and
    `chance_loss` the loss of guessing evenly; None where they are unknown. `is_fresh`: the weights began at random.
    """

    headline: str
    baseline: float | None = None
    num_valid: int = 0
    chance_loss: float | None = None
    is_fresh: bool = True


@dataclass(frozen=True)
class Stage:
    """The training up to a validation, since the one before it; None for what was not measured."""

    step: int
    epoch: int
    lr: float
    train_loss: float
    train_score: float | None
    valid_loss: float
    valid_score: float | None


def stages_of(rows: Sequence[Row], headline: str, since: int = 0) -> list[Stage]:
    """Return a stage for each validation in the rows of metrics.jsonl after step `since`.

    Training rows count by their updates.
    """
    found: list[Stage] = []
    parts: list[tuple[int, Row]] = []
    at = since
    for row in rows:
        if row["split"] == "train":
            parts.append((max(row["step"] - at, 1), row))
            at = row["step"]
        elif row["split"] == "valid" and parts:
            loss = _mean(parts, "loss")
            if loss is not None and isinstance(row.get("loss"), int | float):
                found.append(
                    Stage(
                        step=row["step"],
                        epoch=row["epoch"],
                        lr=float(parts[-1][1].get("lr") or 0.0),
                        train_loss=loss,
                        train_score=_mean(parts, headline),
                        valid_loss=float(row["loss"]),
                        valid_score=row.get(headline),
                    )
                )
            parts = []
    return found


def _mean(parts: Sequence[tuple[int, Row]], name: str) -> float | None:
    """Return the mean of a value over training rows by their updates; None where a row lacks it."""
    total, number = 0.0, 0
    for steps, row in parts:
        value = row.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        total, number = total + steps * value, number + steps
    return total / number


def learning(stages: Sequence[Stage], known: Known, moved: float | None = None, *, ended: bool) -> list[Finding]:
    """Judge how a training learns after its newest validation; `ended`: there will be no other.

    `moved` is the change of the trained weights since the start, relative to their size.
    """
    if len(stages) < LEAST_STAGES or stages[-1].step < LEAST_STEPS:
        return []
    last = stages[-1]
    if text := _rises(stages, known):
        return [Finding("lr_high", text)]
    if last.lr > stages[-2].lr * 1.02:  # a warmup: the learning rate still rises
        return []
    if _is_still(stages, known, moved):
        losses = f"the training loss went from {stages[0].train_loss:.4g} to {last.train_loss:.4g}"
        text = (
            f"the weights hardly change, and {losses} in {last.step:,} steps: optimizer.lr={last.lr:g} is probably too "
            "low. Try ten times that, and again until the loss falls"
        )
        return [Finding("lr_low", text)]
    return list(_beside_a_guess(stages, known, moved, is_late=ended or len(stages) >= _MANY_STAGES))


def _beside_a_guess(stages: Sequence[Stage], known: Known, moved: float | None, *, is_late: bool) -> Iterator[Finding]:
    """Yield a warning where no validation was better than a trivial guess."""
    guess, last, name = _trivial(stages, known), stages[-1], known.headline
    if guess is None:
        return
    stays = f"valid/{name} stays at {last.valid_score:.3f}, as good as a trivial guess ({guess:.3f})"
    if _has_learned(stages, known):
        score = last.train_score
        learned = f"the training loss falls to {last.train_loss:.4g}"
        if score is not None:
            learned = f"train/{name} reaches {score:.3f}"
        yield Finding(
            "memorizes",
            f"{stays}, while {learned}: the network memorizes its samples. Check that each target belongs to its "
            "sample (a shuffled or shifted column?), and that both splits are of one kind",
        )
    elif is_late and _is_stuck(stages, known) and moved is not None and moved > _FAR:
        yield Finding(
            "lr_high",
            f"{stays}, though the weights changed by {moved:.1f} times their size: optimizer.lr={last.lr:g} is "
            "probably too high. Try a tenth of that, trainer.grad_clip_norm=1.0, or scheduler=warmup_cosine",
        )
    elif is_late and _is_stuck(stages, known):
        yield Finding(
            "learns_nothing",
            f"after {last.step:,} steps neither training nor validation is better than a trivial guess (valid/{name} "
            f"{last.valid_score:.3f}, guess {guess:.3f}). Check that each target belongs to its sample; test with "
            "inspect.overfit=true whether the network can learn one batch; then try other values of optimizer.lr, ten "
            "times higher and lower",
        )


def _rises(stages: Sequence[Stage], known: Known) -> str:
    """Return the warning where the training loss is far above where it was, or above guessing; else nothing."""
    losses = [stage.train_loss for stage in stages]
    *before, late, newest = losses
    least, lr = min(before), stages[-1].lr
    advice = f"optimizer.lr={lr:g} is probably too high. Try a tenth of that, or trainer.grad_clip_norm=1.0"
    if min(late, newest) > 2 * least and min(late, newest) > losses[0]:
        return f"the training loss rises, from {least:.4g} to {newest:.4g}: {advice}"
    chance = known.chance_loss
    if chance is not None and min(losses[1:]) > 2 * chance:
        return f"the training loss is {newest:.4g}, and guessing costs {chance:.4g}: {advice}"
    return ""


def _is_still(stages: Sequence[Stage], known: Known, moved: float | None) -> bool:
    """Return whether a training from random weights has hardly moved, and learned nothing of note."""
    if not known.is_fresh or moved is None or moved > _STILL:
        return False
    last, guess = stages[-1], known.baseline
    if guess is not None and last.train_score is not None and last.train_score > guess + 0.3 * (1 - guess):
        return False
    return last.train_loss > FLAT * stages[0].train_loss


def _trivial(stages: Sequence[Stage], known: Known) -> float | None:
    """Return what a trivial guess gets, if no validation is clearly better; None if that cannot be told.

    One of many validations may be better by chance.
    """
    guess = known.baseline
    if guess is None or not math.isfinite(guess) or guess > _HIGH_BASELINE or known.num_valid < _LEAST_SAMPLES:
        return None
    margin = _margin(guess, known.num_valid)
    scores = [stage.valid_score for stage in stages if stage.valid_score is not None]
    if len(scores) < len(stages) or max(scores) > guess + 1.5 * margin:
        return None
    return guess if sum(scores[-LEAST_STAGES:]) / LEAST_STAGES <= guess + margin else None


def _margin(guess: float, num_samples: int) -> float:
    """Return by how much chance alone may better a guess: three standard deviations of a share of the samples."""
    share = min(max(guess, 0.0), 1.0)
    return max(0.02, 3 * math.sqrt(share * (1 - share) / max(num_samples, 1)))


def _has_learned(stages: Sequence[Stage], known: Known) -> bool:
    """Return whether the training split is learned far better than guessed."""
    last, guess = stages[-1], known.baseline
    if last.train_score is not None and guess is not None:
        return last.train_score > guess + max(0.25 * (1 - guess), 2 * _margin(guess, known.num_valid))
    return last.train_loss < 0.5 * stages[0].train_loss and last.valid_loss > stages[0].valid_loss


def _is_stuck(stages: Sequence[Stage], known: Known) -> bool:
    """Return whether the training split is learned no better than guessed either."""
    last, guess = stages[-1], known.baseline
    if last.train_score is not None and guess is not None:
        return last.train_score <= guess + _margin(guess, known.num_valid)
    return last.train_loss > 0.9 * stages[0].train_loss

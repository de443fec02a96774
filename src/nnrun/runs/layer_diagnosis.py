"""What is wrong in the layers of a training, from the rows that `trainer.watch` adds. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from nnrun.runs.diagnosis import FLAT, LEAST_STAGES, LEAST_STEPS, Finding, Row, Stage

# Watched updates in a row that must agree, and those for which a unit must be 0 to be dead, if there were that many.
WATCHED, DEAD_FOR = 3, 10
# The share of dead units, and of saturated outputs, from which a layer is reported.
_DEAD, _SATURATED = 0.85, 0.9
# A gradient that vanishes, as a fraction of the largest one, both by root mean square.
_VANISHING = 1e-6
# Ratios of a layer's update to its weights that no good training keeps up.
_HIGH_RATIO, _LOW_RATIO = 0.1, 1e-5


def layers(rows: Sequence[Row], units: Mapping[str, int], rates: Sequence[Stage] = ()) -> list[Finding]:
    """Judge the layers from the rows of watched updates, split `watch`: the first one of the run and the newest.

    `units` has the number of units of each layer whose dead ones are counted; `rates` are the validations so far.
    """
    newest = list(rows[-WATCHED:])
    if len(newest) < WATCHED:
        return []
    return [*_units(newest, units), *_gradients(rows, newest), *_updates(newest, rates)]


def _by_layer(rows: Sequence[Row], kind: str) -> dict[str, list[float]]:
    """Return the values of one kind by layer, of the layers that each row has."""
    common = set.intersection(*(set(row) for row in rows))
    names = [name for name in rows[-1] if name in common and name.startswith(f"{kind}/")]
    return {name.removeprefix(f"{kind}/"): [float(row[name]) for row in rows] for name in names}


def _units(newest: Sequence[Row], units: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the layers whose units are mostly dead or saturated."""
    for layer, shares in _by_layer(newest, "dead").items():
        number = units.get(layer, 0)
        if min(shares) >= _DEAD and number > 1:
            dead = round(shares[-1] * number)
            yield Finding(
                f"dead:{layer}",
                f"layer {layer}: {dead:,} of {number:,} units are dead (always 0). A lower learning rate or batchnorm "
                "usually helps",
            )
    for layer, shares in _by_layer(newest, "saturated").items():
        if min(shares) >= _SATURATED:
            yield Finding(
                f"saturated:{layer}",
                f"layer {layer}: {shares[-1]:.0%} of its outputs are saturated (at the ends of their range), where the "
                "gradient vanishes. Normalized inputs, a lower learning rate, batchnorm or ReLU usually help",
            )


def _gradients(rows: Sequence[Row], newest: Sequence[Row]) -> Iterator[Finding]:
    """Yield the layers whose gradients are zero, vanish or explode."""
    sizes = _by_layer(newest, "gradients")
    largest = [max((values[index] for values in sizes.values()), default=0.0) for index in range(len(newest))]
    if min(largest) <= 0:
        return
    for layer, values in sizes.items():
        if max(values) == 0:
            yield Finding(
                f"zero:{layer}",
                f"layer {layer}: its gradient is exactly 0, so it does not learn. It or a layer after it is dead, or "
                "its output does not reach the loss",
            )
        elif all(value < _VANISHING * most for value, most in zip(values, largest, strict=True)):
            yield Finding(
                f"vanishing:{layer}",
                f"layer {layer}: its gradient vanishes (a millionth of the largest one), so it hardly learns. "
                "Batchnorm, residual connections, ReLU instead of sigmoid or tanh, or smaller initial weights "
                "usually help",
            )
    before = rows[: -WATCHED + 1]
    for layer, values in _by_layer(rows, "gradients").items():
        usual = median(values[: len(before)])
        late = min(values[len(before) :])
        if len(before) > 2 and late > 100 * usual > 0 and late > 10 * values[0]:
            yield Finding(
                f"exploding:{layer}",
                f"layer {layer}: its gradient explodes, from {usual:.2g} to {values[-1]:.2g}. "
                "trainer.grad_clip_norm=1.0 or a lower learning rate usually helps",
            )


def _updates(newest: Sequence[Row], stages: Sequence[Stage]) -> Iterator[Finding]:
    """Yield a warning where the updates are too large or too small for the weights, and the loss does not fall."""
    ratios = _by_layer(newest, "updates")
    if not ratios or len(stages) < LEAST_STAGES or stages[-1].step < LEAST_STEPS:
        return
    first, last = stages[0], stages[-1]
    usual = median(median(values) for values in ratios.values())
    largest = max(max(values) for values in ratios.values())
    if usual > _HIGH_RATIO and last.train_loss > 0.9 * first.train_loss:
        yield Finding(
            "lr_high",
            f"updates change the weights by {usual:.0%} each, and the loss does not fall: optimizer.lr={last.lr:g} is "
            "probably too high. Try a tenth of that; about 0.1% is usual",
        )
    if largest < _LOW_RATIO and last.train_loss > FLAT * first.train_loss and last.lr >= first.lr:
        yield Finding(
            "lr_low",
            f"updates change the weights by at most {largest:.1g} of their size, and the loss hardly falls: "
            f"optimizer.lr={last.lr:g} is probably too low. Try ten times that; about 0.001 is usual",
        )

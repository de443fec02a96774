"""Allowed values of the augmentations' settings. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import FRACTION, NOT_NEGATIVE, number, one_of, span, whole

ANGLE = number(0, 180)

RANGES = {
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
}

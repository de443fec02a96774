"""Counts kept while images are read, for notes at the end: files with several images, bit depths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from nnrun.base.shown import counted
from nnrun.components.data.images import WHITE, ImageKind, depth_of

# A note counts images that keep fewer than this many of 256 levels.
_FEW_LEVELS = 32


@dataclass
class Tally:
    """The number of files with several images, and the bit depths of images with more than 8 bits.

    `num_deep` have one channel, and their largest value is `peak`; `num_low` of them use so little of the range up to
    `white` that few levels are left, and `low_peak` is their largest value; `num_above` have values above `white`.
    `num_colour` have several channels, of which Pillow keeps the upper 8 bits; `num_dark` of these use few levels.
    """

    white: float | None
    num_several: int = 0
    num_deep: int = 0
    peak: int = 0
    num_low: int = 0
    low_peak: int = 0
    num_above: int = 0
    num_colour: int = 0
    num_dark: int = 0

    def add(self, kinds: Iterable[ImageKind]) -> None:
        """Count some images."""
        white = self.white or WHITE
        for kind in kinds:
            self.num_several += kind.several
            if kind.peak is None:
                continue
            if kind.is_deep_colour:
                self.num_colour += 1
                self.num_dark += kind.peak * 255 / WHITE < _FEW_LEVELS
            else:
                self.num_deep += 1
                self.peak = max(self.peak, kind.peak)
                self.num_above += kind.peak > white
                if kind.peak * 255 / white < _FEW_LEVELS:
                    self.num_low += 1
                    self.low_peak = max(self.low_peak, kind.peak)

    def notes(self) -> list[str]:
        """Return the notes."""
        white, notes = self.white or WHITE, []
        if self.num_several:
            files = "a file that has" if self.num_several == 1 else f"{self.num_several:,} files that have"
            notes.append(f"used the first image of {files} several (animations, pages)")
        deep = f"{counted(self.num_deep, 'image')} of 16 or 32 bits"
        if self.num_low * 2 > self.num_deep:
            levels, better = int(self.low_peak * 255 / white) + 1, depth_of(self.low_peak)
            notes.append(
                f"{self.num_low:,} of {deep} use only 0..{self.low_peak} of {white:g}, which leaves {levels} gray "
                f"levels; set data.white={better} to make {better} white"
            )
        elif self.num_deep and white < WHITE:
            notes.append(f"{deep} use only 0..{self.peak} of {WHITE}: {white:g} is used as white (data.white)")
        if self.num_above:
            notes.append(f"{self.num_above:,} of {deep} have values above data.white={white:g}; these become white")
        if self.num_dark:
            notes.append(
                f"{self.num_dark:,} of {self.num_colour:,} color images with 16 bits per channel use fewer than "
                f"{_FEW_LEVELS} of 256 levels: only the upper 8 bits are read; save them with 8 bits"
            )
        return notes

    def to_plain(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)

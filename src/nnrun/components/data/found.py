"""What to report about decoded images: which were converted, resized, cropped or skipped, and their bit depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from nnrun.base.shown import counted
from nnrun.components.data.images import FLOAT_MODE
from nnrun.components.data.tally import Tally
from nnrun.core.seams.data import Findings

NUM_SIZES = 10


def found_in_images(found: Mapping[str, Any], shape: tuple[int, ...]) -> Findings:
    """Return what to report about images that were resized to `(C, H, W)`, and about those that could not be read."""
    channels, *size = shape
    plain, kind = ("L", "gray") if channels == 1 else ("RGB", "RGB")
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    num_cropped = 0
    for high, wide, mode, number in found["kinds"]:
        sizes[f"{high}x{wide}"] += number
        modes[mode] += number
        num_cropped += number * (found["resize"] == "crop" and is_cropped((high, wide), size))
    total = sum(sizes.values())
    notes = []
    converted = {mode: number for mode, number in modes.most_common() if mode not in (plain, FLOAT_MODE)}
    if converted:
        notes.append(f"converted to {kind}: {', '.join(f'{number:,} {mode}' for mode, number in converted.items())}")
    resized = total - sizes["x".join(map(str, size))]
    if resized:
        notes.append(_resized(found, num_cropped, sizes, size))
    tally = Tally(**found["tally"])
    notes += tally.notes()
    skipped = [message for _, message in found["skipped"]]
    if skipped:
        samples = counted(len(skipped), "sample")
        notes.append(f"skipped: {samples} that cannot be read (data.on_bad=skip); run.log names them")
    facts = {
        "converted": sum(converted.values()),
        "resized": resized,
        "cropped": num_cropped,
        "large_jpegs": found["large_jpegs"],
        "several_pictures": tally.num_several,
        "sizes": dict(sizes.most_common(NUM_SIZES)),
        "skipped": len(skipped),
    }
    if tally.num_deep or tally.num_colour:
        facts["deep"] = tally.to_plain()
    return Findings(tuple(notes), tuple(f"skipped: {message}" for message in skipped), facts)


def became(found: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of `data` that the images, resized to `(C, H, W)`, have decided."""
    size = {"image_size": shape[1] if shape[1] == shape[2] else list(shape[1:])} if found["size"] == "auto" else {}
    return {"white": found["tally"]["white"], **size}


def is_cropped(size: tuple[int, int], wanted: list[int]) -> bool:
    """Return whether an image loses at least one row or column of pixels when it is resized to a size."""
    scale = min(have / want for have, want in zip(size, wanted, strict=True))
    return any(have - want * scale >= 1 for have, want in zip(size, wanted, strict=True))


def _resized(found: Mapping[str, Any], cropped: int, sizes: Counter[str], size: list[int]) -> str:
    """Return the note on images that were resized."""
    total, wanted = sizes.total(), "x".join(map(str, size))
    number = total - sizes[wanted]
    several = f" (of {len(sizes):,} different sizes)" if len(sizes) > 1 else ""
    way = "; set another size with data.image_size" if found["size"] is not None and number * 2 > total else ""
    how = {"crop": "resized", "pad": "resized and padded", "stretch": "stretched"}[found["resize"]]
    if cropped == number:
        return f"resized and center-cropped {number:,} of {counted(total, 'image')} to {wanted}{several}{way}"
    also = f", {cropped:,} of them center-cropped" if cropped else ""
    return f"{how} {number:,} of {counted(total, 'image')} to {wanted}{also}{several}{way}"

"""Decode image files ahead of their turn, in chunks: in processes if there are many, otherwise in threads.

Two threads that decode small pictures are slower than one, since they compete for the GIL. Processes do not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.host import num_cores
from nnrun.base.threads import in_threads
from nnrun.components.data.images import ImageKind
from nnrun.core.workers.crew import Crew, in_order

# Files per chunk: enough to make the transfer cheap, few enough that all workers stay busy to the end.
_MOST_FILES, _PARTS_FOR_EACH = 64, 8
_MAX_DECODERS = 16
# For fewer files and fewer bytes in them, starting processes takes longer than it saves.
_FILES_FOR_PROCESSES, _BYTES_FOR_PROCESSES = 500, 2**23

# Returns the kind of an image file, and its pixels; raises DataError where it cannot be read.
Decode = Callable[[str], tuple[ImageKind, Tensor]]


class ImagePart(NamedTuple):
    """A decoded chunk of files: the pixels `(n, C, H, W)`, None without any, and kinds of those that could be read;
    the errors of the others, by their position in the chunk.
    """

    pixels: Tensor | None
    kinds: list[ImageKind]
    failures: dict[int, DataError]


def decoded_parts(
    files: Sequence[str], decode: Decode, *, in_processes: bool
) -> Generator[tuple[Sequence[str], ImagePart], None, None]:
    """Yield chunks of files, in order, with the decoded images.

    Uses threads only, unless `in_processes`: a user's program must not be forked.
    """
    number = min(num_cores(), _MAX_DECODERS)
    each = max(1, min(_MOST_FILES, len(files) // (_PARTS_FOR_EACH * number)))
    parts = [files[start : start + each] for start in range(0, len(files), each)]
    work = _DecodePart(decode)
    if in_processes and number > 1 and _are_many(files):
        crew = Crew(number, "decodes images", "close other programs, or give fewer images at a time")
        decoded = in_order(work, parts, crew)
    else:
        decoded = in_threads(work, parts, number)
    with closing(decoded):
        yield from zip(parts, decoded, strict=True)


def _are_many(files: Sequence[str]) -> bool:
    """Return whether the files are numerous or large enough that processes pay off."""
    if len(files) >= _FILES_FOR_PROCESSES:
        return True
    num_bytes = 0
    for file in files:
        try:
            num_bytes += Path(file).stat().st_size
        except OSError:
            continue  # reported when it is decoded
    return num_bytes >= _BYTES_FOR_PROCESSES


@dataclass(frozen=True)
class _DecodePart:
    """Decode a chunk of files, one after the other."""

    decode: Decode

    def __call__(self, files: Sequence[str]) -> ImagePart:
        pixels: list[Tensor] = []
        kinds: list[ImageKind] = []
        failures: dict[int, DataError] = {}
        # Most files are of the same kind: share one object, so that it is transferred once.
        known: dict[tuple[ImageKind, int | None], ImageKind] = {}
        for place, file in enumerate(files):
            try:
                kind, values = self.decode(file)
            except DataError as error:
                failures[place] = error
                continue
            pixels.append(values)
            kinds.append(known.setdefault((kind, kind.peak), kind))
        return ImagePart(torch.stack(pixels) if pixels else None, kinds, failures)

"""Images as numpy arrays: one `.npz`, or a folder of `.npy` files, which are memory-mapped."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.files import state_of
from nnrun.base.host import num_cores
from nnrun.base.meter import counting, meter
from nnrun.components.data.array_files import Array, column_names, find_arrays, find_beside, plain_texts
from nnrun.components.data.array_targets import learned_of
from nnrun.components.data.cache import Cache
from nnrun.components.data.dataset_from_parts import Choices, Part, dataset_of
from nnrun.components.data.sample_stats import Measures
from nnrun.components.data.split_columns import KeySettings, split_keys
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.lazy_samples import Stored
from nnrun.core.seams.data import Dataset, Evaluation, Findings
from nnrun.core.workers.crew import Crew, in_order

# Bytes measured at a time.
_CHUNK_BYTES = 2**20
# Below this, starting processes takes longer than it saves.
_BYTES_FOR_PROCESSES, _SAMPLES_FOR_PROCESSES = 2**26, 100_000
FEW_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Arrays:
    """Open `x_train`, `y_train`, `x_test`, `y_test` (and `x_valid`, `y_valid`), or `x` and `y`, split by seed.

    `root` is an `.npz` file, or a folder of `.npy` files with these names. Samples are uint8 or float, `(N, H, W)`,
    `(N, C, H, W)` or `(N, H, W, C)`; `layout` says which, where the shape is ambiguous. Targets are classes, integers
    or strings `(N,)`; labels, 0 or 1 `(N, K)`; or values, floats; `targets` says which. `mean` and `std` (of pixels in
    0..1, or of unscaled floats) are measured where they are None.
    """

    root: str
    layout: str
    test_fraction: float | None
    split_seed: int
    split_by: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    class_order: str = "natural"
    targets: str = "auto"
    group: str | None = None
    time: str | None = None

    def load(self) -> Dataset:
        """Check and measure every sample once; raise DataError that names the file and the wrong sample."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its classes; the training split may be missing."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        pairs = find_arrays(self.root, for_test=evaluation is not None)
        names = {part: str(labels) for part, (_, labels) in pairs.items()}
        known = None if evaluation is None else evaluation.targets
        given = {names[part]: of.open() for part, (_, of) in pairs.items()}
        targets, numbers, notes = learned_of(given, self.targets, self.class_order, column_names(self.root), known)
        keys = self._keys({part: (samples, len(numbers[names[part]])) for part, (samples, _) in pairs.items()})
        parts: dict[str, Part] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for part, (samples, _) in pairs.items():
            stored = Stored(functools.partial(open_pictures, samples, self.layout), is_mapped=_is_mapped(samples))
            if len(stored) != len(numbers[names[part]]):
                raise DataError(
                    f"{samples} has {len(stored):,} samples, but {names[part]} {len(numbers[names[part]]):,} labels"
                )
            shapes[str(samples)] = stored.shape[1:]
            measures = measured(samples, stored, self.layout)
            parts[part] = Part(stored, measures, numbers[names[part]], keys=keys.get(part))
        if len(set(shapes.values())) > 1 or len({part.samples.dtype for part in parts.values()}) > 1:
            each = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
            raise DataError(f"the splits have samples of different shapes or types: {each}")
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        return replace(dataset_of(parts, targets, choices, Findings(notes)), became={"targets": targets.kind})

    def _keys(self, parts: Mapping[str, tuple[Array, int]]) -> dict[str, SplitKeys]:
        """Return the groups and times of the samples of each split, in arrays of their own."""
        settings = KeySettings(self.group, self.time)
        values: dict[str, dict[str, list[object]]] = {}
        for key, name in settings.titles.items():
            values[key] = {}
            for part, array in find_beside(self.root, f"data.{key}", name, parts).items():
                of, number = array.open(), parts[part][1]
                if of.shape not in ((number,), (number, 1)):
                    expected = f"data.{key}={name} needs one value for each of {number:,} samples"
                    raise DataError(f"{array} has shape {_shown(of.shape)}; {expected}")
                values[key][part] = plain_texts(of)
        return split_keys(settings, values, lambda part, index: f"{parts[part][0]}: sample {index}")


def open_pictures(array: Array, layout: str) -> Tensor:
    """Return the samples of a file as a tensor `(N, C, H, W)`, uint8 or float32."""
    import numpy as np  # noqa: PLC0415 - as above

    values = array.open()
    dims = values.ndim
    if dims not in (3, 4) or 0 in values.shape:
        rows = "; for rows of numbers, use your own Dataset class (docs/data.md)" if dims == 2 else ""
        raise DataError(
            f"{array} has shape {_shown(values.shape)}; images are (N, H, W), (N, C, H, W) or (N, H, W, C){rows}"
        )
    if values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
    elif values.dtype.kind in "biu":
        if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
            raise DataError(
                f"{array} is {values.dtype} from {values.min()} to {values.max()}; integers are pixels, from 0 to 255: "
                "save other values as float32"
            )
        values = values.astype(np.uint8, copy=False)
    else:
        raise DataError(f"{array} is {values.dtype}; images are uint8 or float")
    pictures = torch.from_numpy(values)
    return {"NHW": lambda t: t[:, None], "NCHW": lambda t: t, "NHWC": lambda t: t.permute(0, 3, 1, 2)}[
        _layout(array, tuple(values.shape), layout)
    ](pictures)


def _layout(array: Array, shape: tuple[int, ...], layout: str) -> str:
    """Return the layout of an array: as set, or inferred from its shape."""
    fits = ("NHW",) if len(shape) == 3 else ("NCHW", "NHWC")
    if layout != "auto":
        if layout not in fits:
            raise DataError(f"{array} has shape {_shown(shape)}, which does not fit data.dataset.layout={layout}")
        return layout
    if len(shape) == 3:
        return "NHW"
    first, last = shape[1] in FEW_CHANNELS, shape[3] in FEW_CHANNELS
    if first == last:
        raise DataError(
            f"{array} has shape {_shown(shape)}: channels may be first or last; set data.dataset.layout=NCHW or NHWC"
        )
    return "NCHW" if first else "NHWC"


def _is_mapped(array: Array) -> bool:
    """Return whether samples are opened by memory-mapping alone, without a conversion of all values."""
    import numpy as np  # noqa: PLC0415 - as above

    values = array.open()
    return isinstance(values, np.memmap) and values.dtype in (np.uint8, np.float32)


def measured(array: Array, stored: Stored, layout: str) -> Measures:
    """Return the measures of samples, cached until their file changes; NaN and infinity are refused."""
    state = f"{array.member}\0{state_of(array.path.stat())}"
    return Cache(f"array {array}", state, layout).measures(lambda: _measured(array, stored))


def _measured(array: Array, stored: Stored) -> Measures:
    """Return the measures of samples; with processes if there are many."""
    number = len(stored)
    each = max(1, min(number, _CHUNK_BYTES * number // max(1, stored.nbytes)))
    pays = number >= _SAMPLES_FOR_PROCESSES or stored.nbytes >= _BYTES_FOR_PROCESSES
    crew = Crew(num_cores() if pays else 0, "measures the data", "close programs")
    measure = _MeasureChunk(array, stored, each)
    with (
        closing(in_order(measure, range(-(-number // each)), crew)) as chunks,
        meter(f"hashing {array.path.name}", number) as advance,
    ):
        return Measures.together(counting(chunks, advance, len), number)


@dataclass(frozen=True)
class _MeasureChunk:
    """Measure the samples of a chunk, given its number."""

    array: Array
    samples: Stored
    num_samples: int

    def __call__(self, number: int) -> Measures:
        start = number * self.num_samples
        samples = self.samples[start : start + self.num_samples]
        if samples.is_floating_point():
            wrong = (~samples.isfinite().flatten(1).all(1)).nonzero()
            if len(wrong):
                raise DataError(f"{self.array}: sample {start + int(wrong[0])} contains NaN or infinity")
        return Measures.of(samples)


def _shown(shape: Sequence[int]) -> str:
    """Return a shape in words."""
    return f"({', '.join(map(str, shape))})"

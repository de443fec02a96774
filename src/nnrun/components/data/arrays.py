"""Pictures as numpy arrays: one `.npz`, or a folder of `.npy` files, which are mapped into memory."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.files import check_is_file, state_of
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.paths import expanded
from nnrun.components.data.cache import Cache
from nnrun.components.data.data_root import data_root
from nnrun.components.data.dataset_from_parts import Choices, Part, dataset_of
from nnrun.components.data.images import shown
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.sample_stats import Measures
from nnrun.core.lazy_samples import Stored
from nnrun.core.seams.data import Dataset, Evaluation, Findings

if TYPE_CHECKING:
    import numpy as np

# What people call the arrays of a part: samples and labels.
NAMES = ("x_{0}", "X_{0}", "{0}_x", "{0}_images", "{0}_data"), ("y_{0}", "Y_{0}", "{0}_y", "{0}_labels", "{0}_targets")
PARTS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
UNSPLIT = ("x", "X", "images", "data"), ("y", "Y", "labels", "targets")
# Samples that are measured at a time.
CHUNK_SAMPLES = 512
FEW_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Array:
    """An array in a file: of an archive the member's name, else None."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return shown(self.path) + (f"[{self.member}]" if self.member else "")

    def open(self) -> np.ndarray:
        """Return the array, mapped into memory where it has a file of its own; raise DataError where it is damaged."""
        import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

        try:
            check_is_file(self.path)
            if self.member is None:
                # Copied on write, and so never written: torch warns of tensors that cannot be.
                return np.load(self.path, mmap_mode="c", allow_pickle=False)
            with np.load(self.path, allow_pickle=False) as archive:
                return archive[self.member]
        except Exception as error:  # numpy fails on damaged bytes in every way there is
            if of_the_machine(error):
                raise
            raise self._wrong(error) from error

    def _wrong(self, error: Exception) -> DataError:
        """Return what is wrong with a file that numpy cannot read, in a line."""
        if "pickle" in str(error):
            return DataError(f"{self} is no array of numbers: it holds Python objects, which are not loaded, or text")
        if isinstance(error, OSError) and error.errno is not None:
            return DataError(f"{self} cannot be read: {error.strerror}")
        return DataError(f"{self} is damaged, or cut off: {str(error) or type(error).__name__}")


@dataclass(frozen=True)
class Arrays:
    """Open `x_train`, `y_train`, `x_test`, `y_test` (and `x_valid`, `y_valid`), or `x` and `y` that are split by seed.

    `root` is an `.npz` file, or a folder of `.npy` files with these names. Samples are uint8 or floats, `(N, H, W)`,
    `(N, C, H, W)` or `(N, H, W, C)`; `layout` says which, where the shape leaves it open. Labels are whole numbers or
    texts. `mean` and `std`, of pixels in 0..1 or of the floats as they are, are measured where they are None.
    """

    root: str
    layout: str
    test_fraction: float | None
    split_seed: int
    split_by: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    class_order: str = "natural"

    def load(self) -> Dataset:
        """Check and measure every sample once; raise DataError that names file and sample where one is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to measure a trained network: with its classes, and no more parts than there are."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        pairs = find_arrays(self.root, for_test=evaluation is not None)
        names = {part: str(labels) for part, (_, labels) in pairs.items()}
        labels = {names[part]: _one_a_sample(names[part], of.open()) for part, (_, of) in pairs.items()}
        if evaluation is None:
            targets, numbers = classes_of(labels, names[next(iter(pairs))], order=self.class_order)
        else:
            targets, numbers = evaluation.targets, numbers_among(evaluation.targets, labels)
        parts: dict[str, Part] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for part, (samples, _) in pairs.items():
            stored = Stored(functools.partial(open_pictures, samples, self.layout))
            if len(stored) != len(numbers[names[part]]):
                raise DataError(
                    f"{samples} has {len(stored):,} samples, and {names[part]} {len(numbers[names[part]]):,} labels"
                )
            shapes[str(samples)] = stored.shape[1:]
            parts[part] = Part(stored, measured(samples, stored, self.layout), numbers[names[part]])
        if len(set(shapes.values())) > 1 or len({part.samples.dtype for part in parts.values()}) > 1:
            each = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
            raise DataError(f"the parts have samples of different shapes or types: {each}")
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        named = targets.names
        is_counted = not named[0].isdecimal() or named == tuple(map(str, range(len(named))))
        notes = () if is_counted else (f"classes, as the labels say: {', '.join(named[:10])}",)
        return dataset_of(parts, targets, choices, Findings(notes))


def find_arrays(root: str, *, for_test: bool = False) -> dict[str, tuple[Array, Array]]:
    """Return the samples and labels of each part; raise DataError where the file or folder lacks some.

    To test a trained network, those of a test part do.
    """
    path = expanded(root).absolute()
    if path.suffix == ".npz" or path.is_file():
        arrays = {name: Array(path, name) for name in _members(path)}
    else:
        folder = data_root(root)
        if not folder.is_dir():
            beside = [other.name for other in folder.parent.iterdir()] if folder.parent.is_dir() else []
            hint = did_you_mean(folder.name, beside)
            raise DataError(
                f"data.root={shown(root)} does not exist; {hint or 'name an .npz file, or a folder of .npy files'}"
            )
        arrays = {file.stem: Array(file) for file in sorted(folder.glob("*.npy"))}
    found: dict[str, tuple[Array, Array]] = {}
    for part, words in PARTS.items():
        candidates = [[form.format(word) for form in forms for word in words] for forms in NAMES]
        if pair := _pair(path, arrays, *candidates):
            found[part] = pair
    if "train" in found or (for_test and "test" in found):
        return found
    whole = _pair(path, arrays, *UNSPLIT)
    if whole is None or found:
        names = ", ".join(sorted(arrays)) or "no arrays"
        raise DataError(
            f"{shown(path)} holds {names}; name them x_train, y_train, x_test and y_test, or x and y to have them split"
        )
    return {"all": whole}


def _pair(
    path: Path, arrays: Mapping[str, Array], samples: Sequence[str], labels: Sequence[str]
) -> tuple[Array, Array] | None:
    """Return the samples and labels that go by some of the names, or None where there are neither."""
    ours, theirs = (next((name for name in names if name in arrays), None) for names in (samples, labels))
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        lacks = samples[0] if ours is None else labels[0]
        raise DataError(f"{shown(path)} has {ours or theirs}, and no {lacks}")
    return arrays[ours], arrays[theirs]


def _members(path: Path) -> list[str]:
    """Return the names of the arrays in an archive."""
    try:
        check_is_file(path)
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except OSError as error:
        raise DataError(f"data.root={shown(path)} cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{shown(path)} is no .npz archive: {error}") from error


def _one_a_sample(name: str, labels: np.ndarray) -> list[Any]:
    """Return labels as a list of plain values."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{name} is {_shown(labels.shape)}; labels are one number or text a sample, (N,)")
    if not len(labels):
        raise DataError(f"{name} holds no labels")
    return labels.tolist()


def open_pictures(array: Array, layout: str) -> Tensor:
    """Return the samples of a file as a tensor `(N, C, H, W)`, uint8 or float32."""
    import numpy as np  # noqa: PLC0415 - as above

    values = array.open()
    dims = values.ndim
    if dims not in (3, 4) or 0 in values.shape:
        raise DataError(f"{array} is {_shown(values.shape)}; pictures are (N, H, W), (N, C, H, W) or (N, H, W, C)")
    if values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
    elif values.dtype.kind in "biu":
        if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
            raise DataError(
                f"{array} is {values.dtype} from {values.min()} to {values.max()}; whole numbers are pixels, from 0 to "
                "255: save others as float32"
            )
        values = values.astype(np.uint8, copy=False)
    else:
        raise DataError(f"{array} holds {values.dtype}; pictures are uint8 or floats")
    pictures = torch.from_numpy(values)
    return {"NHW": lambda t: t[:, None], "NCHW": lambda t: t, "NHWC": lambda t: t.permute(0, 3, 1, 2)}[
        _layout(array, tuple(values.shape), layout)
    ](pictures)


def _layout(array: Array, shape: tuple[int, ...], layout: str) -> str:
    """Return what the dimensions of an array are: as set, or as its shape shows."""
    fits = ("NHW",) if len(shape) == 3 else ("NCHW", "NHWC")
    if layout != "auto":
        if layout not in fits:
            raise DataError(f"{array} is {_shown(shape)}, which is not data.dataset.layout={layout}")
        return layout
    if len(shape) == 3:
        return "NHW"
    first, last = shape[1] in FEW_CHANNELS, shape[3] in FEW_CHANNELS
    if first == last:
        raise DataError(
            f"{array} is {_shown(shape)}: the channels may be first or last; set data.dataset.layout to NCHW or NHWC"
        )
    return "NCHW" if first else "NHWC"


def measured(array: Array, stored: Stored, layout: str) -> Measures:
    """Return the measures of samples, kept for as long as their file is as it is; NaN and infinity are refused."""
    state = f"{array.member}\0{state_of(array.path.stat())}"
    return Cache(f"array {array}", state, layout).measures(lambda: Measures.together(list(_measure(array, stored))))


def _measure(array: Array, stored: Stored) -> Iterator[Measures]:
    """Yield the measures of samples, a chunk at a time."""
    for start in range(0, len(stored), CHUNK_SAMPLES):
        samples = stored[start : start + CHUNK_SAMPLES]
        if samples.is_floating_point():
            wrong = (~samples.isfinite().flatten(1).all(1)).nonzero()
            if len(wrong):
                raise DataError(f"{array}: sample {start + int(wrong[0])} holds NaN or infinity")
        yield Measures.of(samples)


def _shown(shape: Sequence[int]) -> str:
    """Return a shape as people write it."""
    return f"({', '.join(map(str, shape))})"

"""Turn what a program passes to a predictor (files, arrays, PIL images, one or many) into batches of raw samples."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.assembly.data.scales import FLOATS, PIXELS, scale_fault, some_of
from nnrun.assembly.prediction.array_files import holds_array, read_images
from nnrun.assembly.prediction.image_rows import rows_of_images
from nnrun.assembly.prediction.input_files import find_files
from nnrun.assembly.prediction.raw_images import Intake, Samples, of_files, of_tree
from nnrun.assembly.prediction.tables import batches_of_rows, rows_given
from nnrun.assembly.prediction.texts import of_texts, tokens_of
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.components.data.images import MAX_PIXELS, from_pillow
from nnrun.components.data.tally import Tally
from nnrun.core.seams.data import Tree

if TYPE_CHECKING:
    from nnrun.assembly.prediction.predictor import Predictor

_GIVE = "give a path, a text, a Pillow image, an array, a tensor, a dict of arrays by name, or a list of one of these"


def samples_given(inputs: Any, predictor: Predictor) -> Generator[Samples, None, None]:
    """Yield the given inputs as batches of raw samples, in order; nothing if there are none. Strings are paths, or
    texts for a network of texts.

    Raises DataError where an input cannot be read, or does not fit the network.
    """
    if predictor.columns:
        rows = rows_given(inputs)
        yield from batches_of_rows(rows, predictor.columns, predictor.batch_size, takes_given=predictor.takes_columns)
        return
    if (tokens := tokens_of(predictor.preprocessing)) is not None and (texts := _as_texts(inputs)) is not None:
        yield from of_texts(texts, tokens, predictor.batch_size)
        return
    is_one = _is_path(inputs) or _is_image(inputs)
    if isinstance(inputs, bytes) or not (is_one or _is_array(inputs) or isinstance(inputs, Iterable | int | float)):
        raise DataError(f"cannot predict for {_kind(inputs)}; {_GIVE}")
    given = [inputs] if is_one else inputs
    if isinstance(given, Iterable) and not isinstance(given, Mapping) and not _is_array(given):
        given = tuple(given) if _is_tuple(predictor.in_shape) else list(given)
    if isinstance(given, list):
        if not given:
            return
        kinds = {_kind(item) for item in given}
        if kinds == {"path"}:
            yield from _of_paths(given, predictor)
            return
        if kinds == {"image"}:
            given = _stacked_images(given, predictor)
        elif kinds in ({"array"}, {"dict"}):
            given = _stacked(given, predictor.in_shape)
        elif not kinds <= {"number", "list"}:
            raise DataError(f"cannot predict for a list of {' and '.join(sorted(kinds))}; {_GIVE}")
    tree = _as_tree(given, predictor.in_shape)
    if not len(tree_leaves(tree)[0]):
        return
    _check_scale(tree, predictor.preprocessing)
    yield from of_tree("sample ", tree, predictor.batch_size)


def _as_texts(inputs: Any) -> list[str] | None:
    """Return a text, or a list of texts; None for anything else."""
    given = [inputs] if isinstance(inputs, str) else inputs
    is_list = isinstance(given, Sequence) and not isinstance(given, bytes)
    return list(given) if is_list and all(isinstance(item, str) for item in given) else None


def image_shape(in_shape: Tree, preprocessing: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a sample; raise ConfigError unless it is that of a gray or RGB image.

    Raises DataError for a network trained on floats instead of pixels, since the scale of floats is unknown;
    ArtifactError where a file claims a shape larger than any image that is decoded.
    """
    if not isinstance(in_shape, tuple) or len(in_shape) != 3 or in_shape[0] not in (1, 3):
        raise ConfigError(
            f"a prediction reads images, gray or RGB, but this network takes samples of the shape {in_shape}; use "
            "nnrun.predictor(PATH) in your own program, which takes arrays"
        )
    if in_shape[1] * in_shape[2] > MAX_PIXELS:
        raise ArtifactError(
            f"the network of ckpt= claims to take images of {in_shape[1]:,} x {in_shape[2]:,}, but a maximum of "
            f"{MAX_PIXELS:,} pixels is decoded: the file is damaged or hostile"
        )
    if preprocessing["_target_"] == FLOATS:
        raise DataError(
            "a prediction reads pixels from 0 to 255, but this network was trained on samples stored as floats; use "
            "nnrun.predictor(PATH) in your own program, which takes arrays"
        )
    return in_shape


def _kind(item: Any) -> str:
    """Return the kind of an item of a list, in a word."""
    if _is_path(item):
        return "path"
    if _is_image(item):
        return "image"
    if isinstance(item, Mapping):
        return "dict"
    if isinstance(item, int | float):
        return "number"
    if isinstance(item, list | tuple):
        return "list"
    return "array" if _is_array(item) else "None" if item is None else type(item).__name__


def _is_path(item: Any) -> bool:
    """Return whether something is a path."""
    return isinstance(item, str | os.PathLike)


def _is_image(item: Any) -> bool:
    """Return whether something is a PIL image, without importing Pillow: a caller that has one has imported it."""
    images = sys.modules.get("PIL.Image")
    return images is not None and isinstance(item, images.Image)


def _is_array(item: Any) -> bool:
    """Return whether something is a tensor, a numpy array, or another object that numpy can convert to an array."""
    return isinstance(item, Tensor) or hasattr(item, "__array__")


def _of_paths(paths: Sequence[Any], predictor: Predictor) -> Generator[Samples, None, None]:
    """Yield the images of files, folders and patterns; for a single file that holds many images, all of them."""
    in_shape = image_shape(predictor.in_shape, predictor.preprocessing)
    intake = Intake(in_shape, predictor.batch_size, predictor.conversion)
    tally = Tally(predictor.conversion.white)
    if len(paths) == 1 and (rows := rows_of_images(os.fspath(paths[0]), predictor.image)) is not None:
        yield from rows.batches(intake, _refuse, tally)
        return
    found = [file for path in paths for file in find_files(os.fspath(path)).files]
    if len(found) == 1 and holds_array(Path(found[0])):
        yield from of_tree(found[0], read_images(Path(found[0]), in_shape), predictor.batch_size)
        return
    yield from of_files(found, intake, _refuse, tally)


def _refuse(error: DataError) -> None:
    """Raise the error for a file that cannot be read: there must be a prediction for each file."""
    raise error


def _is_tuple(in_shape: Tree) -> bool:
    """Return whether a sample is a tuple of tensors, not one tensor of this shape."""
    return isinstance(in_shape, tuple) and any(isinstance(part, tuple | Mapping) for part in in_shape)


def _stacked_images(images: Sequence[Any], predictor: Predictor) -> Tensor:
    """Return PIL images as pixels, uint8 `(N, C, H, W)`, resized and converted for the network."""
    channels, *size = image_shape(predictor.in_shape, predictor.preprocessing)
    height, width = size
    parts = [
        from_pillow(image, channels, (height, width), predictor.conversion, f"image {number}").pixels
        for number, image in enumerate(images, 1)
    ]
    return torch.stack(parts)


def _stacked(items: Sequence[Any], in_shape: Tree) -> Any:
    """Return a list of single samples, arrays or dicts of arrays, stacked."""
    if isinstance(items[0], Mapping):
        if not isinstance(in_shape, Mapping) or set(items[0]) != set(in_shape):
            return _as_tree(items[0], in_shape)  # raises DataError
        return {name: torch.cat([_one(item, name, in_shape) for item in items]) for name in items[0]}
    return torch.cat([_as_tree(item, in_shape) for item in items])


def _one(item: Any, name: str, in_shape: Tree) -> Tensor:
    """Return the array called `name` of a single sample."""
    if name not in item:
        raise DataError(f"a sample lacks {name!r}, which other samples have")
    shape = in_shape.get(name) if isinstance(in_shape, Mapping) else None
    return _as_samples(item[name], name, shape)


def _as_tree(given: Any, in_shape: Tree) -> Tree:
    """Return arrays as tensors `(N, ...)`, in the structure and shapes that the network takes."""
    tree: Tree
    if isinstance(in_shape, Mapping):
        if not isinstance(given, Mapping) or set(given) != set(in_shape):
            got = ", ".join(map(str, given)) if isinstance(given, Mapping) else f"a {type(given).__name__}"
            raise DataError(f"the network takes a dict of {', '.join(in_shape)}, but was given {got}")
        tree = {name: _as_samples(given[name], name, in_shape[name]) for name in in_shape}
    elif _is_tuple(in_shape):
        if not isinstance(given, tuple) or len(given) != len(in_shape):
            raise DataError(
                f"the network takes a tuple of {len(in_shape)} arrays, but was given a {type(given).__name__}"
            )
        parts = zip(given, in_shape, strict=True)
        tree = tuple(_as_samples(part, f"input {number}", shape) for number, (part, shape) in enumerate(parts))
    elif isinstance(given, Mapping):
        raise DataError(f"the network takes one array of samples {in_shape}, but was given a dict")
    else:
        tree = _as_samples(given, "", in_shape)
    counts = [len(leaf) for leaf in tree_leaves(tree)]
    if len(set(counts)) > 1:
        raise DataError(f"all inputs must have the same number of samples, but have {', '.join(map(str, counts))}")
    return tree


def _as_samples(given: Any, name: str, shape: Any) -> Tensor:
    """Return an array of samples, or a single sample, as a tensor `(N, ...)`; images may be channels-last."""
    what = f"{name}: " if name else ""
    if isinstance(given, Tensor) and (given.layout != torch.strided or given.is_meta or given.is_quantized):
        raise DataError(f"{what}expected a dense tensor, but this one is sparse, quantized or on the meta device")
    try:
        tensor = given.detach() if isinstance(given, Tensor) else torch.from_numpy(_writeable(numpy.asarray(given)))
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}this is not an array of numbers: {error}") from error
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    found = tuple(tensor.shape)
    for single, batch in _forms(shape):
        if _fits(found[1:], single):
            return batch(tensor)
        if _fits(found, single):
            return batch(tensor[None])
    wanted = str(tuple(shape)).replace("None", "any length")
    raise DataError(f"{what}the network takes samples {wanted}, but was given an array {found}")


def _fits(found: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Return whether an array has the shape of a sample, of which None is any size."""
    return len(found) == len(wanted) and all(size in (None, has) for has, size in zip(found, wanted, strict=True))


def _writeable(array: numpy.ndarray) -> numpy.ndarray:
    """Return an array that torch can use: a copy of one that is read-only, byte-swapped or has negative strides."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def _forms(shape: Any) -> Any:
    """Yield the layouts that a sample may have in an array, each with a function that brings a batch to `shape`."""
    shape = tuple(shape)
    yield shape, lambda batch: batch
    if len(shape) == 3 and shape[0] in (1, 3):
        channels, height, width = shape
        yield (height, width, channels), lambda batch: batch.permute(0, 3, 1, 2)
        if channels == 1:
            yield (height, width), lambda batch: batch[:, None]


def _check_scale(tree: Tree, preprocessing: Mapping[str, Any]) -> None:
    """Raise DataError where samples are on another scale than those that the network was trained on."""
    if not isinstance(tree, Tensor) or preprocessing["_target_"] not in (PIXELS, FLOATS):
        return
    if preprocessing["_target_"] == PIXELS and tree.dtype != torch.uint8:
        dtype = str(tree.dtype).removeprefix("torch.")
        raise DataError(f"the samples are {dtype}; the network takes pixels, uint8 from 0 to 255")
    if fault := scale_fault(preprocessing, some_of(tree)):
        raise DataError(f"the samples are on another scale than the data the network was trained on: {fault}")

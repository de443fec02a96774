"""An ONNX file that nnrun exported. It may be a stranger's: nothing outside of it is read, and no code of its own.

It runs in a process of its own, which has limits on its memory and its time.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.assembly.network import preprocessing_of
from nnrun.assembly.prediction.onnx_file import read_onnx, said
from nnrun.assembly.prediction.predictor import Predictor, image_shape, refuse_floats
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.host import available_bytes
from nnrun.base.targets import Targets
from nnrun.components.data.image_form import AUTO
from nnrun.core.seams.data import Preprocessing
from nnrun.core.seams.problem import Output, Problem
from nnrun.proof.isolated import RUNNER, Isolated, Limits, WrongShape

_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
# What a network may need: for itself, for each byte of its file, and for each number of a batch. The largest layer of
# VGG-16 gives 85 bytes for each number of its input.
_LEAST_BYTES = 2**30
_BYTES_PER_FILE_BYTE = 6
_BYTES_PER_NUMBER = 8192
_STACK_BYTES = 2**24
# How long it may take, on a slow machine: to be loaded, and for a batch.
_LEAST_SECONDS = 15.0
_SECONDS_PER_FILE_BYTE = 1e-7
_SECONDS_PER_SAMPLE = 2.0
# What an exported network was trained for.
_PROBLEM = "nnrun.components.problems.classification.Classification"
# How far from 0..1 a probability may lie by rounding.
_ROUNDING = 1e-3


def predictor_of_artifact(path: Path, job: Job) -> Predictor:
    """Return an exported network, run by ONNX Runtime on the CPU in a process of its own, which `close` ends.

    Raises ArtifactError where the file is damaged, refused, or was not made by nnrun.
    """
    try:
        file = read_onnx(path)
        # The bytes that were checked, and no path: there is no folder that other files could come from.
        network = Isolated(RUNNER, "onnx", path, _limits(len(file.content)), file.content)
    except ModuleNotFoundError as error:
        raise lacks_package(f"ckpt={path}", error) from error
    try:
        preprocessing = _preprocessing(file.facts, network.signature, path, job)
        shape, targets = _in_shape(network.signature, path), Targets.classes(file.facts["class_names"])
        white = _white(file.facts, path, job)
    except BaseException:
        network.close()
        raise
    is_probable = file.facts.get("output_kind") == "probabilities"

    def outputs(pixels: Tensor) -> Tensor:
        inputs = pixels if preprocessing is None else preprocessing(pixels)
        try:
            given = network(inputs, num_outputs=targets.num_outputs)
        except WrongShape as error:
            raise ArtifactError(f"{path} gives {error} for {len(pixels)} images of {targets}") from error
        except RuntimeError as error:
            raise ArtifactError(f"{path} cannot be run: {said(error)}") from error
        if is_probable and not ((given >= -_ROUNDING) & (given <= 1 + _ROUNDING)).all():
            raise ArtifactError(f"{path} says that it gives probabilities, and gives NaN or numbers outside of 0..1")
        return given

    problem = build({"_target_": _PROBLEM}, "problem", Problem, targets)
    output: Output = "probabilities" if is_probable else "scores"
    return Predictor(outputs, output, problem, shape, file.facts["preprocessing"], network.close, white)


def _limits(num_bytes: int) -> Limits:
    """Return what a network of a stranger's, so many bytes long, may take of this machine."""
    return Limits(
        least_bytes=_LEAST_BYTES + _BYTES_PER_FILE_BYTE * num_bytes + _STACK_BYTES * torch.get_num_threads(),
        bytes_per_number=_BYTES_PER_NUMBER,
        most_bytes=available_bytes(),
        load_seconds=_LEAST_SECONDS + _SECONDS_PER_FILE_BYTE * num_bytes,
        call_seconds=_LEAST_SECONDS,
        seconds_per_sample=_SECONDS_PER_SAMPLE,
    )


def _preprocessing(facts: dict[str, Any], signature: dict[str, Any], path: Path, job: Job) -> Preprocessing | None:
    """Return what is to be done to pixels before the network; None where it takes them raw."""
    taken, given = signature["inputs"], signature["outputs"]
    if len(taken) != 1 or len(given) != 1:
        raise ArtifactError(f"{path} has {len(taken)} inputs and {len(given)} outputs; one is wanted")
    refuse_floats(facts["preprocessing"])
    if given[0]["type"] not in _FLOATS:
        raise ArtifactError(f"{path} gives {given[0]['type']}; nnrun exports networks that give float scores")
    if taken[0]["type"] == "tensor(uint8)":
        return None
    if taken[0]["type"] != "tensor(float)":
        raise ArtifactError(f"{path} takes {taken[0]['type']}; nnrun exports networks that take uint8 or float pixels")
    try:
        return preprocessing_of(facts["preprocessing"], job.settings.trust)
    except (ArtifactError, ConfigError) as error:
        raise ArtifactError(*(f"{path}: {message}" for message in error.messages)) from error


def _white(facts: dict[str, Any], path: Path, job: Job) -> float | None:
    """Return what becomes 255 of greys of more than 8 bits: as typed, or as the file says, if it does."""
    typed = job.settings.data.white
    if job.composed.named("data.white") and typed != AUTO:
        return None if typed is None else float(typed)
    if "white" not in facts:
        return None
    try:
        white = float(facts["white"])
    except ValueError:
        white = math.nan
    if not 0 < white < math.inf:
        raise ArtifactError(f"{path} says that {said(Exception(facts['white']))!r} is white; it is a number above 0")
    return white


def _in_shape(signature: dict[str, Any], path: Path) -> tuple[int, ...]:
    """Return the shape of an image that the network takes."""
    shape = signature["inputs"][0]["shape"]
    if not shape or isinstance(shape[0], int) or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        raise ArtifactError(
            f"{path} takes {said(Exception(shape))}; nnrun exports networks with a batch of any size alone"
        )
    return image_shape(tuple(shape[1:]))

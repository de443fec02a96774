"""Predict with an ONNX file that nnrun exported. The file is untrusted: no other file is read, and no code is run.

It runs in a separate process, with limits on its memory and time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnrun.assembly.allowed import check_trust
from nnrun.assembly.instantiate import build
from nnrun.assembly.network import preprocessing_of
from nnrun.assembly.objective import load_fitted
from nnrun.assembly.prediction.onnx_facts import OnnxFacts
from nnrun.assembly.prediction.onnx_file import read_onnx, said
from nnrun.assembly.prediction.predictor import Predictor
from nnrun.assembly.prediction.tables import columns_in
from nnrun.assembly.prediction.texts import OF_TEXTS
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.host import available_bytes
from nnrun.base.shown import counted
from nnrun.components.data.conversion import RESIZES, Conversion
from nnrun.components.data.image_form import AUTO, conversion_of
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.problem import Output, Problem
from nnrun.core.trees import ALONE, num_samples
from nnrun.proof.isolated import RUNNER, Isolated, Limits, WrongShape

_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
# Memory that a network may need: base, per byte of its file, and per input number of a batch. The largest layer of
# VGG-16 outputs 85 bytes per number of its input.
_LEAST_BYTES = 2**30
_BYTES_PER_FILE_BYTE = 6
_BYTES_PER_NUMBER = 8192
_STACK_BYTES = 2**24
# Time that it may take on a slow machine: to load, and per batch.
_LEAST_SECONDS = 15.0
_SECONDS_PER_FILE_BYTE = 1e-7
_SECONDS_PER_SAMPLE = 2.0
# How far outside of 0..1 a probability may be, by rounding.
_ROUNDING = 1e-3


def predictor_of_artifact(path: Path, trust: Sequence[str], read_as: Mapping[str, Any] = {}) -> Predictor:
    """Return an exported network, run by ONNX Runtime on the CPU in a separate process, which `close` ends.

    `read_as` has settings of `data` for reading image files, which take precedence over those in the file.

    Raises ArtifactError where the file is damaged, refused, or was not made by nnrun.
    """
    try:
        file = read_onnx(path)
        # Pass the checked bytes, not a path: then there is no folder to read other files from.
        network = Isolated(RUNNER, "onnx", path, _limits(len(file.content)), file.content)
    except ModuleNotFoundError as error:
        raise lacks_package(f"ckpt={path}", error) from error
    try:
        shape = _in_shape(network.signature, file.facts, path)
        preprocessing = _preprocessing(file.facts, network.signature, path, trust)
        columns = columns_in(file.facts.preprocessing, path)
        problem, conversion = _problem(file.facts, path, trust), _conversion(file.facts, read_as, path)
    except BaseException:
        network.close()
        raise
    targets, is_probable = file.facts.targets, file.facts.is_probable

    def outputs(samples: Tree) -> Tensor:
        inputs = samples if preprocessing is None else preprocessing(samples)
        try:
            given = network(inputs, num_outputs=targets.num_outputs)
        except WrongShape as error:
            raise ArtifactError(
                f"{path} returns {error} for {counted(num_samples(samples), 'sample')} of {targets}"
            ) from error
        except RuntimeError as error:
            raise ArtifactError(f"{path} cannot be run: {said(error)}") from error
        if is_probable and not ((given >= -_ROUNDING) & (given <= 1 + _ROUNDING)).all():
            raise ArtifactError(f"{path} claims to return probabilities, but returns NaN or numbers outside of 0..1")
        return given

    output: Output = "probabilities" if is_probable else "scores"
    names = [column.name for column in columns]
    return Predictor(
        outputs,
        output,
        problem,
        shape,
        file.facts.preprocessing,
        network.close,
        conversion,
        takes_columns=bool(names) and isinstance(shape, Mapping) and names == list(shape),
    )


def _limits(num_bytes: int) -> Limits:
    """Return the limits for an untrusted network of `num_bytes` bytes."""
    return Limits(
        least_bytes=_LEAST_BYTES + _BYTES_PER_FILE_BYTE * num_bytes + _STACK_BYTES * torch.get_num_threads(),
        bytes_per_number=_BYTES_PER_NUMBER,
        most_bytes=available_bytes(),
        load_seconds=_LEAST_SECONDS + _SECONDS_PER_FILE_BYTE * num_bytes,
        call_seconds=_LEAST_SECONDS,
        seconds_per_sample=_SECONDS_PER_SAMPLE,
    )


def _problem(facts: OnnxFacts, path: Path, trust: Sequence[str]) -> Problem:
    """Return the problem of a network, fitted as its file says."""
    try:
        check_trust({"problem": facts.problem}, trust)
        problem = build(facts.problem, "problem", Problem, facts.targets)
    except (ArtifactError, ConfigError) as error:
        raise ArtifactError(*(f"{path}: {message}" for message in error.messages)) from error
    if problem.kind != facts.targets.kind:
        raise ArtifactError(f"{path} is damaged: its problem is for {problem.kind}, but it has {facts.targets}")
    if facts.is_probable and not problem.has_probabilities:
        raise ArtifactError(f"{path} claims to return probabilities, but {problem.kind} have none")
    load_fitted(problem, facts.fitted, path)
    return problem


def _preprocessing(
    facts: OnnxFacts, signature: dict[str, Any], path: Path, trust: Sequence[str]
) -> Preprocessing | None:
    """Return the preprocessing of samples; None if the network takes them raw."""
    types = [node["type"] for node in signature["inputs"]]
    if facts.is_raw or (facts.is_raw is None and types == ["tensor(uint8)"]):
        return None
    if facts.preprocessing["_target_"] == OF_TEXTS and types == ["tensor(int64)"]:
        return None
    if types != ["tensor(float)"] * len(types):
        raise ArtifactError(f"{path} takes {', '.join(types)}; nnrun exports networks that take uint8 or float pixels")
    try:
        return preprocessing_of(facts.preprocessing, trust)
    except (ArtifactError, ConfigError) as error:
        raise ArtifactError(*(f"{path}: {message}" for message in error.messages)) from error


def _conversion(facts: OnnxFacts, wanted: Mapping[str, Any], path: Path) -> Conversion:
    """Return how image files are read: as `wanted`, otherwise as the file says."""
    try:
        told = Conversion.of_texts(facts.read_as)
    except ValueError:
        told = Conversion(white=math.nan)
    if told.white is not None and not 0 < told.white < math.inf:
        white = said(Exception(facts.read_as["white"]))
        raise ArtifactError(f"{path} is damaged: its white is {white!r}; allowed: a number above 0")
    if told.resize not in RESIZES:
        resize = said(Exception(told.resize))
        raise ArtifactError(f"{path} is damaged: its resize is {resize!r}; allowed: {', '.join(RESIZES)}")
    return conversion_of({**told._asdict(), **{key: value for key, value in wanted.items() if value != AUTO}})


def _in_shape(signature: dict[str, Any], facts: OnnxFacts, path: Path) -> Tree:
    """Return the shape of a sample; for several input tensors the shapes by name, if the file names them.

    Raises ArtifactError where the network returns anything but one tensor of floats.
    """
    taken, given = signature["inputs"], signature["outputs"]
    names = [node["name"] for node in taken]
    stated = list(facts.inputs or names[:1])
    if len(given) != 1 or not names or (len(names) != len(stated) and facts.inputs is None):
        raise ArtifactError(f"{path} has {len(taken)} inputs and {len(given)} outputs; expected one of each")
    if names != stated:
        ours, theirs = (said(Exception(", ".join(each))) for each in (names, stated))
        raise ArtifactError(f"{path} is damaged: it takes the inputs {ours}, but its metadata names {theirs}")
    if given[0]["type"] not in _FLOATS:
        raise ArtifactError(f"{path} returns {given[0]['type']}; nnrun exports networks that return float scores")
    shapes = {node["name"]: _shape_of(node["shape"], path) for node in taken}
    return shapes[names[0]] if facts.inputs in (None, (ALONE,)) else shapes


def _shape_of(shape: list[Any], path: Path) -> tuple[int | None, ...]:
    """Return the shape of a tensor without its batch dimension, which must be dynamic; None is any length."""
    if not shape or isinstance(shape[0], int) or any(isinstance(size, int) and size < 1 for size in shape[1:]):
        raise ArtifactError(
            f"{path} takes {said(Exception(shape))}; nnrun only exports networks with a dynamic batch dimension"
        )
    return tuple(size if isinstance(size, int) else None for size in shape[1:])

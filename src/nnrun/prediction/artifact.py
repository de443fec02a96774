"""An ONNX file that nnrun exported. It may be a stranger's: nothing outside of it is read, and no code of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnrun.contents import check_plain
from nnrun.core.seams import Preprocessing
from nnrun.errors import CONTROL, ArtifactError, ConfigError
from nnrun.faults import lacks_package
from nnrun.loading import preprocessing_of
from nnrun.prediction.network import Predictor, image_shape, refuse_floats
from nnrun.prepare import Job

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto

PREFIX = "nnrun."
# A protobuf message is no longer.
MAX_BYTES = 2**31
MAX_NODES = 100_000
# The operators of the standard; others are code that comes in a library of its own.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MAX_DEPTH = 16
_SHOWN_ERROR = 300


def predictor_of_artifact(path: Path, job: Job) -> Predictor:
    """Return an exported network, run by ONNX Runtime on the CPU.

    Raises ArtifactError where the file is damaged, refused, or was not made by nnrun.
    """
    try:
        import onnx  # noqa: PLC0415 - a prediction with a checkpoint does not pay for it
        import onnxruntime  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise lacks_package(f"ckpt={path}", error) from error

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ArtifactError(f"{path} is refused: {size:,} bytes, and an ONNX file has at most {MAX_BYTES:,}")
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise ArtifactError(f"{path} is no ONNX file, or it is damaged: {_said(error)}") from error
    _check_model(model, path)
    facts = _facts(model, path)
    del model
    options = onnxruntime.SessionOptions()
    # What it has to say is in what it raises.
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        # The bytes that were looked at, and no path: there is no folder that other files could come from.
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ArtifactError(f"{path} cannot be loaded by ONNX Runtime: {_said(error)}") from error
    preprocessing = _preprocessing(facts, session, path, job)
    name, shape, names = session.get_inputs()[0].name, _in_shape(session, path), tuple(facts["class_names"])

    def outputs(pixels: Tensor) -> Tensor:
        inputs = pixels if preprocessing is None else preprocessing(pixels)
        try:
            given = torch.from_numpy(session.run(None, {name: inputs.contiguous().numpy()})[0])
        except Exception as error:
            raise ArtifactError(f"{path} cannot be run: {_said(error)}") from error
        if given.shape != (len(pixels), len(names)):
            raise ArtifactError(f"{path} gives {tuple(given.shape)} for {len(pixels)} images of {len(names)} classes")
        return given

    is_probable = facts.get("output_kind") == "probabilities"
    return Predictor(outputs, is_probable, names, shape)


def _check_model(model: ModelProto, path: Path) -> None:
    """Raise ArtifactError where a model would read other files, or needs operators that are not the standard's."""
    domains = {*_DOMAINS, *(function.domain for function in model.functions)}
    num_nodes = 0
    for body in (model.graph, *model.functions):
        for part in _parts(body):
            num_nodes += 1
            if num_nodes > MAX_NODES:
                raise ArtifactError(f"{path} is refused: it has more than {MAX_NODES:,} operators and tensors")
            if isinstance(part, str):
                if part not in domains:
                    raise ArtifactError(f"{path} is refused: it needs operators of {part[:80]!r}, which are code")
            elif part.data_location == part.EXTERNAL or part.external_data:
                raise ArtifactError(f"{path} is refused: it keeps its weights in other files; export it again")


def _parts(body: GraphProto | FunctionProto, depth: int = 0) -> Iterator[str | TensorProto]:
    """Yield the domain of each operator and every tensor, of graphs within graphs too."""
    if depth > _MAX_DEPTH:
        raise ArtifactError("the ONNX file is refused: its graphs are nested too deep")
    yield from getattr(body, "initializer", ())
    for sparse in getattr(body, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in body.node:
        yield node.domain
        for attribute in node.attribute:
            yield from _parts_of_attribute(attribute, depth)
    for attribute in getattr(body, "attribute_proto", ()):
        yield from _parts_of_attribute(attribute, depth)


def _parts_of_attribute(attribute: AttributeProto, depth: int) -> Iterator[str | TensorProto]:
    """Yield the same of what an operator is given."""
    yield from (attribute.t, *attribute.tensors)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    for graph in (attribute.g, *attribute.graphs):
        yield from _parts(graph, depth + 1)


def _facts(model: ModelProto, path: Path) -> dict[str, Any]:
    """Return what the file says of itself, without the prefix of its names; class names as a list of texts."""
    facts: dict[str, Any] = {
        entry.key.removeprefix(PREFIX): entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)
    }
    if "class_names" not in facts or "preprocessing" not in facts:
        raise ArtifactError(
            f"{path} was not exported by nnrun: it does not say what its classes are; nnrun export=onnx ckpt= does"
        )
    for key in ("class_names", "preprocessing"):
        try:
            facts[key] = json.loads(facts[key])
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{path} is damaged: its {PREFIX}{key} is no JSON") from error
        check_plain(facts[key], f"{path}: {PREFIX}{key}")
    names = facts["class_names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{path} is damaged: its {PREFIX}class_names are no list of texts")
    if not isinstance(facts["preprocessing"], dict) or not isinstance(facts["preprocessing"].get("_target_"), str):
        raise ArtifactError(f"{path} is damaged: its {PREFIX}preprocessing names no _target_")
    return facts


def _preprocessing(facts: dict[str, Any], session: Any, path: Path, job: Job) -> Preprocessing | None:
    """Return what is to be done to pixels before the network; None where it takes them raw."""
    kind = session.get_inputs()[0].type
    refuse_floats(facts["preprocessing"])
    if kind == "tensor(uint8)":
        return None
    if kind != "tensor(float)":
        raise ArtifactError(f"{path} takes {kind}; nnrun exports networks that take uint8 or float pixels")
    try:
        return preprocessing_of(facts["preprocessing"], job.settings.trust)
    except (ArtifactError, ConfigError) as error:
        raise ArtifactError(*(f"{path}: {message}" for message in error.messages)) from error


def _in_shape(session: Any, path: Path) -> tuple[int, ...]:
    """Return the shape of an image that the network takes."""
    taken = session.get_inputs()
    if len(taken) != 1 or len(session.get_outputs()) != 1:
        raise ArtifactError(f"{path} has {len(taken)} inputs and {len(session.get_outputs())} outputs; one is wanted")
    sizes = taken[0].shape[1:]
    if isinstance(taken[0].shape[0], int) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ArtifactError(f"{path} takes {taken[0].shape}; nnrun exports networks with a batch of any size alone")
    return image_shape(tuple(sizes))


def _said(error: Exception) -> str:
    """Return the beginning of what a library says of a stranger's file."""
    return CONTROL.sub("?", " ".join(str(error).split()))[:_SHOWN_ERROR] or type(error).__name__

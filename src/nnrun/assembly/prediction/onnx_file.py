"""Read an untrusted ONNX file: once, checked, and serialized again from what was checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.assembly.prediction.onnx_facts import OnnxFacts, facts_of
from nnrun.assembly.prediction.onnx_wire import Unclear, check_bytes
from nnrun.base.errors import CONTROL, ArtifactError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

# The limit of a protobuf message.
MAX_BYTES = 2**31
MAX_NODES = 100_000
# The standard's operators; others are code in separate libraries.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MAX_DEPTH = 16
_SHOWN_ERROR = 300


@dataclass(frozen=True)
class OnnxFile:
    """The checked model as bytes, which hold nothing else, and its metadata."""

    content: bytes
    facts: OnnxFacts


def read_onnx(path: Path) -> OnnxFile:
    """Return a file's content; raise ArtifactError where it is damaged, refused, or was not made by nnrun."""
    import onnx  # noqa: PLC0415 - a prediction with a checkpoint does not pay for it

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ArtifactError(f"{path} is refused: it has {size:,} bytes, more than the {MAX_BYTES:,} of an ONNX file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        check_bytes(content, onnx.ModelProto.DESCRIPTOR)
        model = onnx.load_model_from_string(content)
    except Unclear as error:
        raise ArtifactError(f"{path} is not an ONNX file, or it is damaged or hostile: {error}") from error
    except MemoryError:
        raise  # that is no fault of the file
    except Exception as error:
        raise ArtifactError(f"{path} is not an ONNX file, or it is damaged: {said(error)}") from error
    plain = model.SerializeToString(deterministic=True)
    if len(plain) != len(content):
        raise ArtifactError(
            f"{path} is not an ONNX file, or it is damaged or hostile: it has content that ONNX ignores"
        )
    try:
        _check_model(model)
    except Unclear as error:
        raise ArtifactError(f"{path} is refused: {error}") from error
    return OnnxFile(plain, facts_of({entry.key: entry.value for entry in model.metadata_props}, path))


def said(error: Exception) -> str:
    """Return the beginning of a library's error about an untrusted file."""
    return CONTROL.sub("?", " ".join(str(error).split()))[:_SHOWN_ERROR] or type(error).__name__


def _check_model(model: ModelProto) -> None:
    """Raise Unclear where a model would read other files, or has features that nnrun never exports."""
    for field in ("functions", "training_info", "configuration"):
        if len(getattr(model, field, ())):
            raise Unclear(f"it has {field}, which nnrun never exports")
    twice = [name for name, count in Counter(entry.key for entry in model.metadata_props).items() if count > 1]
    if twice:
        raise Unclear(f"its metadata has {said(Exception(twice[0]))[:80]!r} twice")
    for num_parts, part in enumerate(_parts(model.graph), 1):
        if num_parts > MAX_NODES:
            raise Unclear(f"it has more than {MAX_NODES:,} operators and tensors")
        if isinstance(part, str):
            if part not in _DOMAINS:
                raise Unclear(f"it needs custom operators ({part[:80]!r}), which are code")
        elif part.data_location == part.EXTERNAL or part.external_data:
            raise Unclear("it keeps its weights in other files; export it again")


def _parts(graph: GraphProto, depth: int = 0) -> Iterator[str | TensorProto]:
    """Yield the domain of each operator, and every tensor, including those of subgraphs."""
    if depth > _MAX_DEPTH:
        raise Unclear("its graphs are nested too deep")
    if len(graph.sparse_initializer):
        raise Unclear("it has sparse tensors, which nnrun never exports")
    names = {tensor.name for tensor in graph.initializer}
    if len(names) != len(graph.initializer):
        raise Unclear("two of its tensors have the same name")
    yield from graph.initializer
    for node in graph.node:
        yield node.domain
        for attribute in node.attribute:
            yield from _parts_of_attribute(attribute, depth)


def _parts_of_attribute(attribute: AttributeProto, depth: int) -> Iterator[str | TensorProto]:
    """Yield the same for the attributes of an operator."""
    yield from (attribute.t, *attribute.tensors)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    for graph in (attribute.g, *attribute.graphs):
        yield from _parts(graph, depth + 1)

"""Remove private information from an artifact: paths, lines of source code, samples of the data.

torch's exporters record the source file and line of each operator. Nothing that runs an artifact needs them.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

# Records that the writer of torch archives adds itself.
_VERSIONS = ("version", ".data/version")
_ADDED = (*_VERSIONS, ".data/serialization_id")
_CONSTANT = re.compile(rb"  \w+ : Final\[")
_DEBUG_SUFFIX = ".debug_pkl"
# The metadata that a node of a torch graph keeps: shape and type of its result.
_KEPT = ("val", "tensor_meta")


def strip_onnx(model: ModelProto) -> None:
    """Remove doc strings and node metadata from a model, in place, in nested graphs too; its own metadata stays."""
    model.doc_string = ""
    for function in model.functions:
        _strip_notes([function, *function.value_info, *function.node])
        for node in function.node:
            _strip_attributes(node.attribute)
    _strip_graph(model.graph)


def strip_program(program: ExportedProgram) -> None:
    """Remove the notes of every operator, and the example inputs, from a program, in place."""
    program.example_inputs = None
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta = {key: value for key, value in node.meta.items() if key in _KEPT}


def strip_script(content: bytes) -> bytes:
    """Return the archive of a TorchScript file without debug records, and reproducible for the same network."""
    reader, stripped = torch._C.PyTorchFileReader(io.BytesIO(content)), io.BytesIO()
    writer = torch._C.PyTorchFileWriter(stripped)
    # By its version torch decides what an operator means: in an earlier one, a division of integers had no fraction.
    version = next(name for name in reader.get_all_records() if name in _VERSIONS)
    writer.set_min_version(int(reader.get_record(version)))
    for name in reader.get_all_records():
        if name not in _ADDED and not name.endswith(_DEBUG_SUFFIX):
            record = reader.get_record(name)
            if name.endswith(".py"):
                record = _in_order(record)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return stripped.getvalue()


def _in_order(code: bytes) -> bytes:
    """Return the code of a class with its constants sorted by name; torch writes them in the order of a set."""
    lines = code.splitlines(keepends=True)
    groups = itertools.groupby(lines, key=lambda line: _CONSTANT.match(line) is not None)
    return b"".join(line for is_constant, group in groups for line in (sorted(group) if is_constant else group))


def sort_safetensors(content: bytes) -> bytes:
    """Return a safetensors file with sorted metadata in its header: the library's order differs each time."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _strip_graph(graph: GraphProto) -> None:
    """Remove the notes of a graph."""
    _strip_notes([graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info])
    for node in graph.node:
        _strip_attributes(node.attribute)


def _strip_attributes(attributes: Iterable[Any]) -> None:
    """Remove the notes of an operator's attributes."""
    for attribute in attributes:
        # Accessing a field that is not set would create it.
        tensor = [attribute.t] if attribute.HasField("t") else []
        _strip_notes([attribute, *tensor, *attribute.tensors])
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            _strip_graph(graph)


def _strip_notes(parts: Iterable[Any]) -> None:
    """Clear the doc strings and metadata of parts of a model."""
    for part in parts:
        for field in ("doc_string", "metadata_props"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)

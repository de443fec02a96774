"""ONNX: one file with a dynamic batch size and the preprocessing inside, verified with ONNX Runtime."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from nnrun.components.exporters.deployed import ArtifactForm, batches_of, free_axes
from nnrun.components.exporters.onnx_columns import described, in_words, take_columns
from nnrun.components.exporters.quiet import quiet
from nnrun.components.exporters.refusals import refusing
from nnrun.components.exporters.stripping import strip_onnx
from nnrun.components.exporters.traced_onnx import traced, traced_by_sizes
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves
from nnrun.proof.isolated import RUNNER, Isolated

if TYPE_CHECKING:
    from onnx import ModelProto

# Prefix of every key in the file's metadata.
PREFIX = "nnrun."


class OnnxExporter:
    """Write `model.onnx` with one of torch.onnx's exporters; with `opset` None the exporter chooses the version.

    The input is called `input`, or by the keys of a dict; the output is called `scores` or `probabilities`. The file's
    metadata has the input format, the targets, the run id and the main metric, under keys that start with `nnrun.`.
    """

    typical_seconds = 0.4
    _may_trace = True
    _is_traced = False
    takes_given = False

    def __init__(
        self, opset: int | None, preprocess: bool, output: Output, tolerance: float, min_agreement: float
    ) -> None:
        self.opset = opset
        self.preprocess = preprocess
        self.output = output
        self.tolerance = tolerance
        self.min_agreement = min_agreement
        self.notes: list[str] = []

    def retry(self, reason: str) -> Self | None:
        """Return an exporter that does not trace, after a failed verification; None if this one did not trace."""
        if not self._is_traced:
            return None
        other = copy.copy(self)
        other.notes = [f"exported again without tracing, since the traced network failed: {reason}"]
        other._may_trace = False
        return other

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        return write(self.taking_columns(self.model_of(model, context), context), folder)

    def taking_columns(self, proto: ModelProto, context: ExportContext) -> ModelProto:
        """Return the network, which takes the columns of a table by name if its samples are coded rows of one."""
        columns = getattr(context.preprocessing, "columns", ())
        self.takes_given = bool(columns) and self.preprocess
        if self.takes_given:
            take_columns(proto, columns)
            about = {"inputs": json.dumps(described(columns), ensure_ascii=False), "input": in_words(columns)}
            for entry in proto.metadata_props:
                entry.value = about.get(entry.key.removeprefix(PREFIX), entry.value)
        return proto

    def model_of(self, model: nn.Module, context: ExportContext) -> ModelProto:
        """Return the network as ONNX, without traces of the machine that exported it."""
        import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it

        form = ArtifactForm(self.preprocess, self.output)
        network, example = form.deployed(model, context)
        names = list(named_leaves(example))
        if self.output in names:
            raise CannotExport(f"the data has an input named {self.output!r}, like the output; use export=pt2")
        given = (network, example, names, self.output, self.opset, free_axes(example, context))
        with quiet():
            proto = traced(*given) if self._may_trace else None
        self._is_traced = proto is not None
        if proto is None:
            try:
                proto = self._program(network, example, names, batches_of(example, context))
            except Exception:  # the newer exporter also fails with errors of its own
                with quiet():
                    proto = traced_by_sizes(*given) if self._may_trace else None
                if proto is None:
                    raise
                self._is_traced = True
        strip_onnx(proto)
        for key, value in form.metadata(context).items():
            proto.metadata_props.append(onnx.StringStringEntryProto(key=PREFIX + key, value=value))
        return proto

    def _program(self, network: nn.Module, example: Tree, names: Sequence[str], shapes: Any) -> ModelProto:
        """Return the network exported by torch's newer exporter, which rejects what it cannot express."""
        with refusing("onnx"), quiet():
            program = torch.onnx.export(
                network,
                # A dict in last place would be taken for keyword arguments.
                (example, {}),
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(names),
                output_names=[self.output],
                opset_version=self.opset,
                external_data=False,
                verbose=False,
            )
        assert program is not None, "torch.onnx.export with dynamo=True returns a program"
        return program.model_proto

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the file as a callable: ONNX Runtime on the CPU, in a process with only it and numpy."""
        return Isolated(RUNNER, "onnx", path)


def write(model: ModelProto, folder: Path) -> Path:
    """Write `model.onnx` as a single file; return its path."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path

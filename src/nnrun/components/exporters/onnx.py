"""ONNX: one file, a dynamic batch, preprocessing inside, proven with ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nnrun.components.exporters.deployed import ArtifactForm, batches_of
from nnrun.components.exporters.refusals import refusing
from nnrun.components.exporters.stripping import strip_onnx
from nnrun.components.exporters.traced_onnx import traced
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves
from nnrun.proof.isolated import RUNNER, Isolated

if TYPE_CHECKING:
    from onnx import ModelProto

# Before every name in a file's metadata.
PREFIX = "nnrun."


class OnnxExporter:
    """Write `model.onnx` with one of torch.onnx's exporters; `opset` None leaves the version to it.

    The input is named `input`, those of a dict by its keys, the output `scores` or `probabilities`, whichever is asked
    for. What it takes, what was learned, run id and metric are in the file's metadata, under names that begin with
    `nnrun.`.
    """

    def __init__(
        self, opset: int | None, preprocess: bool, output: Output, tolerance: float, min_agreement: float
    ) -> None:
        self.opset = opset
        self.preprocess = preprocess
        self.output = output
        self.tolerance = tolerance
        self.min_agreement = min_agreement

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        return write(self.model_of(model, context), folder)

    def model_of(self, model: nn.Module, context: ExportContext) -> ModelProto:
        """Return the network as ONNX, with nothing in it of the machine that it was made on."""
        import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it

        form = ArtifactForm(self.preprocess, self.output)
        network, example = form.deployed(model, context)
        names = list(named_leaves(example))
        if self.output in names:
            raise CannotExport(f"the data has an input {self.output!r}, as its output is called; export=pt2 can")
        with quiet():
            proto = traced(network, example, names, self.output, self.opset)
        if proto is None:
            proto = self._program(network, example, names)
        strip_onnx(proto)
        for key, value in form.metadata(context).items():
            proto.metadata_props.append(onnx.StringStringEntryProto(key=PREFIX + key, value=value))
        return proto

    def _program(self, network: nn.Module, example: Tree, names: Sequence[str]) -> ModelProto:
        """Return the network as torch's newer exporter writes it, which follows every way that its code can take."""
        with refusing("onnx"), quiet():
            program = torch.onnx.export(
                network,
                # A dict that comes last it would take for named arguments.
                (example, {}),
                dynamo=True,
                dynamic_shapes=(batches_of(example),),
                input_names=list(names),
                output_names=[self.output],
                opset_version=self.opset,
                external_data=False,
                verbose=False,
            )
        assert program is not None, "the dynamo exporter returns a program"
        return program.model_proto

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the file, run by ONNX Runtime on the CPU in a process that has only that and numpy."""
        return Isolated(RUNNER, "onnx", path)


def write(model: ModelProto, folder: Path) -> Path:
    """Write `model.onnx` in one piece; return its path."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """Keep what the libraries say of themselves off the user's terminal."""
    # ONNX Runtime's quantization speaks through the root.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""ONNX: one file, a dynamic batch, preprocessing inside, proven with ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.core.seams import ExportContext
from nnrun.errors import ArtifactError
from nnrun.exporters.deployed import deployed


class OnnxExporter:
    """Write `model.onnx` with torch.onnx's exporter; `opset` None leaves the version to it.

    The input is named `input`, the scores `scores`. Class names, input format, run id and test accuracy are in the
    file's metadata, under names that begin with `nnrun.`.
    """

    def __init__(self, opset: int | None, preprocess: bool, tolerance: float, min_agreement: float) -> None:
        self.opset = opset
        self.preprocess = preprocess
        self.tolerance = tolerance
        self.min_agreement = min_agreement

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it

        network, example = deployed(model, context, preprocess=self.preprocess)
        # An example batch of 1 would be taken for a constant.
        with _quiet():
            program = torch.onnx.export(
                network,
                (example[:2],),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=["input"],
                output_names=["scores"],
                opset_version=self.opset,
                external_data=False,
                verbose=False,
            )
        assert program is not None, "the dynamo exporter returns a program"
        proto = program.model_proto
        for key, value in self._metadata(context).items():
            proto.metadata_props.append(onnx.StringStringEntryProto(key=f"nnrun.{key}", value=value))
        path = folder / "model.onnx"
        onnx.save_model(proto, str(path))
        return path

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """Return the file as a function, run by ONNX Runtime on the CPU."""
        import onnxruntime  # noqa: PLC0415 - as above

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ArtifactError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
        name = session.get_inputs()[0].name

        def call(batch: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {name: batch.numpy()})[0])

        return call

    def _metadata(self, context: ExportContext) -> dict[str, str]:
        """Return what the file says of itself."""
        kind = "raw pixels, uint8, (N, C, H, W)" if self.preprocess else "normalised pixels, float32, (N, C, H, W)"
        return {
            "class_names": json.dumps(list(context.class_names), ensure_ascii=False),
            "input": kind,
            "output": "class scores before the softmax (logits), float32, (N, classes)",
            "preprocessing": json.dumps(context.preprocessing.to_plain()),
            "run_id": context.run_id,
            "test_accuracy": f"{context.accuracy:.6f}",
        }


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Keep the exporter's own progress, and its warnings about itself, off the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

"""ONNX in int8: static quantization by ONNX Runtime, calibrated on training data; verified by its main metric."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from nnrun.base.shown import counted
from nnrun.components.exporters.onnx import OnnxExporter, write
from nnrun.components.exporters.quiet import quiet
from nnrun.components.exporters.stripping import strip_onnx
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves, num_samples, samples_of

if TYPE_CHECKING:
    from onnx import GraphProto

_CALIBRATION_BATCH = 32
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Sigmoid", "Softmax")
# Minimum fraction of predictions that agree. Only for classes: sets of labels change more often, and values always do.
_MIN_AGREEMENT = {"classes": 0.9}


class OnnxInt8Exporter(OnnxExporter):
    """Write `model.onnx` with weights and activations in int8, in QDQ format, with per-channel weights.

    Its scores differ from the network's. Verification limits the drop of the main metric (`max_accuracy_drop`) and the
    fraction of predictions that agree (`min_agreement`; None is 0.9 for classes, and no limit for labels and values).
    """

    typical_seconds = 0.6

    def __init__(
        self,
        preprocess: bool,
        output: Output,
        calibration_samples: int,
        max_accuracy_drop: float,
        min_agreement: float | None,
    ) -> None:
        super().__init__(None, preprocess, output, math.inf, min_agreement or 0.0)
        self.calibration_samples = calibration_samples
        self.max_drop = max_accuracy_drop
        self._is_given = min_agreement is not None

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU; return its path."""
        import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - as above
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - as above

        if not self._is_given:
            self.min_agreement = _MIN_AGREEMENT.get(context.targets.kind, 0.0)
        exact = self.model_of(model, context)
        samples = context.calibration(self.calibration_samples)
        if num_samples(samples) == 0:
            raise CannotExport(
                "int8 needs training samples for its calibration, but the data has none; export with the run's own "
                "data, or use export=onnx"
            )
        samples = samples if self.preprocess else context.preprocessing(samples)
        with quiet(), tempfile.TemporaryDirectory(prefix="nnrun-") as scratch:
            plain, fused, quantized_file = (Path(scratch) / f"{name}.onnx" for name in ("plain", "fused", "int8"))
            plain.write_bytes(exact.SerializeToString())
            # Folds BatchNorm into the preceding convolutions, which int8 needs.
            quant_pre_process(str(plain), str(fused), skip_symbolic_shape=True)
            quantize_static(
                str(fused),
                str(quantized_file),
                _Calibration(samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_last_steps(onnx.load(fused).graph),
            )
            quantized = onnx.load(quantized_file)
        strip_onnx(quantized)
        del quantized.metadata_props[:]
        quantized.metadata_props.extend(exact.metadata_props)
        quantized.metadata_props.append(onnx.StringStringEntryProto(key="nnrun.precision", value="int8"))
        calibrated = counted(num_samples(samples), "training sample")
        self.notes = [*self.notes, f"int8, calibrated on {calibrated}"]
        return write(self.taking_columns(quantized, context), folder)


def _last_steps(graph: GraphProto) -> list[str]:
    """Return the names of the elementwise operators at the end of the graph, such as scale, shift and softmax.

    They stay in fp32: in int8, values near 1000 that differ by 50 would have only 256 steps from 0 to 1000.
    """
    by_output = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    names: list[str] = []
    node = by_output.get(graph.output[0].name)
    while node is not None and node.op_type in _ELEMENTWISE:
        names.append(node.name)
        (given, *more) = [name for name in node.input if name not in constants] or [""]
        node = None if more else by_output.get(given)
    return names


class _Calibration:
    """The calibration data reader of ONNX Runtime, which calls `get_next`."""

    def __init__(self, samples: Tree) -> None:
        starts = range(0, num_samples(samples), _CALIBRATION_BATCH)
        self._batches = iter([samples_of(samples, slice(start, start + _CALIBRATION_BATCH)) for start in starts])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None."""
        batch = next(self._batches, None)
        return None if batch is None else {name: leaf.numpy() for name, leaf in named_leaves(batch).items()}

"""What the settings of an export may be. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import FRACTION, POSITIVE, Range, one_of, whole


def _exports(*formats: str) -> dict[str, Range]:
    """Return the ranges of what all formats have."""
    ranges = {"output": one_of("scores", "probabilities"), "tolerance": POSITIVE, "min_agreement": FRACTION}
    return {f"export.{name}.{key}": allowed for name in formats for key, allowed in ranges.items()}


RANGES = {
    "export.onnx.opset": whole(18, 25, null=True),
    "export.onnx_int8.calibration_samples": whole(1),
    "export.onnx_int8.max_accuracy_drop": FRACTION,
    "export.torchserve.top_k": whole(1),
    **_exports("onnx", "onnx_int8", "torchscript", "pt2", "safetensors", "torchserve"),
}

"""Allowed values of the exporters' settings. Needs no torch."""

from __future__ import annotations

import re

from nnrun.config.ranges import FRACTION, POSITIVE, Range, number, one_of, whole

OUTPUT = one_of("scores", "probabilities")

RANGES = {
    **{f"export.{name}.output": OUTPUT for name in ("onnx", "onnx_int8", "torchscript", "pt2", "torchserve")},
    **{
        f"export.{name}.tolerance": POSITIVE
        for name in ("onnx", "torchscript", "pt2", "safetensors", "torchserve", "hub")
    },
    **{
        f"export.{name}.min_agreement": FRACTION
        for name in ("onnx", "torchscript", "pt2", "safetensors", "torchserve", "hub")
    },
    "export.onnx_int8.min_agreement": number(0, 1, null=True),
    "export.onnx.opset": whole(18, 25, null=True),
    "export.onnx_int8.calibration_samples": whole(1),
    "export.onnx_int8.max_accuracy_drop": FRACTION,
    "export.hub.repo": Range(
        lambda v: v is None or (isinstance(v, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", v) is not None),
        "owner/name of a repository of huggingface.co, or null",
    ),
    "export.hub.private": Range(lambda v: isinstance(v, bool), "true or false", ("true", "false")),
    "export.torchserve.top_k": whole(1),
}

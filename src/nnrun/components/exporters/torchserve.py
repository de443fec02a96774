"""A `.mar` archive for TorchServe: TorchScript, a handler, and the class names.

PyTorch no longer maintains TorchServe. The format is that of version 0.12:
https://github.com/pytorch/serve/tree/master/model-archiver#artifact-details
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from nnrun.components.exporters.deployed import ArtifactForm, batches_of
from nnrun.components.exporters.torchscript import compile_script, script_bytes
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves
from nnrun.proof.isolated import RUNNER, Isolated

HANDLER = Path(__file__).parent / "handler.py"
# The handler's imports from nnrun: in the archive each is replaced by the text of the module.
IMPORTED = re.compile(r"^from nnrun\.components\.data\.(\w+) import (?:\([^)]*\)|[^(\n]*)\n", re.MULTILINE)
DATA = Path(__file__).parents[1] / "data"
FUTURE = "from __future__ import annotations\n"
# The handler's name in the archive. TorchServe imports it by that name, so it must not clash with other modules.
HANDLER_NAME = "nnrun_handler.py"
_OTHERS = "; use export=onnx, torchscript or pt2"
# The key of the number in a response.
ANSWERS: dict[Output, str] = {"scores": "score", "probabilities": "probability"}


class TorchServeExporter:
    """Write `model.mar`. It takes image files, decoded as in nnrun, and responds with the `top_k` classes as JSON."""

    typical_seconds = 2.2
    preprocess = True

    def __init__(self, output: Output, top_k: int, tolerance: float, min_agreement: float) -> None:
        self.output = output
        self.top_k = top_k
        self.tolerance = tolerance
        self.min_agreement = min_agreement
        self.notes: list[str] = []

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        shape = _image_shape(context.example)
        if context.targets.kind != "classes":
            raise CannotExport(f"torchserve needs classes, but the targets are {context.targets}{_OTHERS}")
        form = ArtifactForm(self.preprocess, self.output)
        module, example = form.deployed(model, context)
        script, how = compile_script(module, example, batches_of(example, context), "torchserve")
        self.notes = [how]
        metadata = form.metadata(context) | {"method": how}
        card = {
            **metadata,
            "class_names": list(context.targets.names),
            "in_shape": shape,
            "top_k": self.top_k,
            "answer": ANSWERS[self.output],
        }
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in (
                ("MAR-INF/MANIFEST.json", json.dumps(_manifest(context.run_id), indent=2)),
                (HANDLER_NAME, handler_text()),
                ("model.pt", script_bytes(script, metadata)),
                ("model.json", json.dumps(card, indent=2, ensure_ascii=False)),
            ):
                # Without time and system, so that the archive is reproducible.
                entry = zipfile.ZipInfo(name)
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                archive.writestr(entry, part)
        path = folder / "model.mar"
        path.write_bytes(content.getbuffer())
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the archive's handler as a callable, called as TorchServe does, on PNG files, without nnrun."""
        return Isolated(RUNNER, "torchserve", path)


def _image_shape(example: Tree) -> list[int]:
    """Return the shape of a sample; raise CannotExport unless it is one image that an image file can hold."""
    if not isinstance(example, Tensor):
        raise CannotExport(
            f"torchserve takes one image per sample, but these have {', '.join(named_leaves(example))}{_OTHERS}"
        )
    shape, kind = list(example.shape[1:]), str(example.dtype).removeprefix("torch.")
    if kind != "uint8" or len(shape) != 3 or shape[0] not in (1, 3):
        raise CannotExport(
            f"torchserve takes image files, uint8 with 1 or 3 channels; the samples are {kind} of {shape}{_OTHERS}"
        )
    return shape


def handler_text(path: Path = HANDLER) -> str:
    """Return the handler as a single file, with nnrun's image decoding copied into it."""
    text = path.read_text(encoding="utf-8")
    return IMPORTED.sub(lambda line: handler_text(DATA / f"{line[1]}.py").replace(FUTURE, ""), text)


def _manifest(run_id: str) -> dict[str, object]:
    """Return the manifest of the archive."""
    return {
        "runtime": "python",
        "model": {
            "modelName": "model",
            "description": f"exported by nnrun from {run_id}",
            "serializedFile": "model.pt",
            "handler": HANDLER_NAME,
            "modelVersion": "1.0",
        },
        "archiverVersion": "0.12.0",
    }

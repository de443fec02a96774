"""PT2: a torch.export graph with a dynamic batch size, for torch.export.load and AOTInductor."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from nnrun.components.exporters.deployed import METADATA_NAME, ArtifactForm, batches_of
from nnrun.components.exporters.quiet import quiet
from nnrun.components.exporters.refusals import refusing
from nnrun.components.exporters.stripping import strip_program
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import ExportContext
from nnrun.core.seams.problem import Output
from nnrun.proof.isolated import RUNNER, Isolated


class Pt2Exporter:
    """Write `model.pt2`."""

    typical_seconds = 6.0

    def __init__(self, preprocess: bool, output: Output, tolerance: float, min_agreement: float) -> None:
        self.preprocess = preprocess
        self.output = output
        self.tolerance = tolerance
        self.min_agreement = min_agreement

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        form = ArtifactForm(self.preprocess, self.output)
        network, example = form.deployed(model, context)
        path = folder / "model.pt2"
        with refusing("pt2"), quiet():
            program = torch.export.export(network, (example,), dynamic_shapes=(batches_of(example, context),))
            metadata = json.dumps(form.metadata(context), ensure_ascii=False)
            strip_program(program)
            content = io.BytesIO()
            torch.export.save(program, content, extra_files={METADATA_NAME: metadata})
        path.write_bytes(content.getbuffer())
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the file as a callable: torch on the CPU, in a process with nothing else."""
        return Isolated(RUNNER, "pt2", path)

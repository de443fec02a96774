"""TorchScript: one file for libtorch and torch.jit.load; deprecated by PyTorch, but still in use."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.base.paths import without_paths
from nnrun.components.exporters.deployed import METADATA_NAME, ArtifactForm, Deployed, batches_of
from nnrun.components.exporters.quiet import quiet
from nnrun.components.exporters.refusals import cannot_follow
from nnrun.components.exporters.stripping import strip_script
from nnrun.core.named_inputs import TakingNames, without_names
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves
from nnrun.proof.isolated import RUNNER, Isolated


class TorchScriptExporter:
    """Write `model.pt`: scripted, or traced if the network cannot be scripted; its metadata says which."""

    typical_seconds = 2.2

    def __init__(self, preprocess: bool, output: Output, tolerance: float, min_agreement: float) -> None:
        self.preprocess = preprocess
        self.output = output
        self.tolerance = tolerance
        self.min_agreement = min_agreement
        self.notes: list[str] = []

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        form = ArtifactForm(self.preprocess, self.output)
        path = folder / "model.pt"
        module, example = form.deployed(model, context)
        script, how = compile_script(module, example, batches_of(example, context))
        self.notes = [how]
        path.write_bytes(script_bytes(script, form.metadata(context) | {"method": how}))
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the file as a callable: torch on the CPU, in a process with nothing else."""
        return Isolated(RUNNER, "torchscript", path)


def compile_script(
    module: Deployed, example: Tree, shapes: Any, format_name: str = "torchscript"
) -> tuple[torch.jit.ScriptModule, str]:
    """Return a network as TorchScript, and a note on how: scripted, or traced and why.

    Raises CannotExport if it cannot be scripted and has data-dependent control flow, of which a trace would record
    only the example's path; also if its inputs are nested trees, which have no type in TorchScript.
    """
    if not isinstance(example, Tensor) and not all(isinstance(part, Tensor) for part in _parts(example)):
        raise CannotExport(
            f"{format_name} takes a tensor, or a dict or tuple of tensors, but these inputs are nested deeper "
            f"({', '.join(named_leaves(example))}); use export=onnx, pt2 or safetensors"
        )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            plain, spread = without_names(module.network)
            network: nn.Module = torch.jit.script(plain)
            network = network if spread is None else TakingNames(network, spread)
            how = "scripted"
        except Exception as error:
            network = _trace(module.network, module.prepare(example), shapes, format_name)
            how = f"traced, because it cannot be scripted: {_last_line(error)}"
        # The preprocessing may be any function, but has no data-dependent control flow, so a trace is complete.
        if not isinstance(example, Tensor):
            return _traced(Deployed(module.prepare, network, module.finish).eval(), example), how
        prepare = _traced(module.prepare, example)
        return torch.jit.script(Deployed(prepare, network, module.finish).eval()), how


def _parts(tree: Tree) -> Iterable[Tree]:
    """Return the subtrees of a tree."""
    return tree.values() if isinstance(tree, dict) else tree


def script_bytes(script: torch.jit.ScriptModule, metadata: dict[str, str]) -> bytes:
    """Return the content of a TorchScript file, with its metadata."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(script, file, _extra_files={METADATA_NAME: json.dumps(metadata, ensure_ascii=False)})
    return strip_script(file.getvalue())


def _traced(module: nn.Module, example: Tree) -> torch.jit.ScriptModule:
    """Return a trace, which takes the same tree as its example; scripted submodules stay scripted."""
    return torch.jit.trace(module, (example,), check_trace=False, strict=False)


def _trace(network: nn.Module, example: Tree, shapes: Any, format_name: str) -> torch.jit.ScriptModule:
    """Return a trace; raise CannotExport if it would record only one of several paths."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace = _traced(network, example)
    # Tracing warns of each tensor that is converted to a Python bool or number, even of harmless shapes. torch.export
    # tells them apart.
    if any(issubclass(item.category, torch.jit.TracerWarning) for item in caught):
        try:
            whole = Deployed(nn.Identity(), network, nn.Identity())
            with quiet():
                torch.export.export(whole, (example,), dynamic_shapes=(shapes,), strict=False)
        except Exception as error:
            raise cannot_follow(format_name) from error
    return trace


def _last_line(error: Exception) -> str:
    """Return the first line of an error of torch.jit.script, without its source listing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return without_paths((lines or [type(error).__name__])[0][:150])

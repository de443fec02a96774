"""TorchScript: one file for libtorch and for torch.jit.load; deprecated by PyTorch, and still asked for."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from nnrun.base.paths import without_paths
from nnrun.components.exporters.deployed import METADATA_NAME, ArtifactForm, Deployed, batches_of
from nnrun.components.exporters.refusals import cannot_follow
from nnrun.components.exporters.stripping import strip_script
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import named_leaves
from nnrun.proof.isolated import RUNNER, Isolated


class TorchScriptExporter:
    """Write `model.pt`: scripted, or traced where the network cannot be scripted; its metadata says which."""

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
        script, how = compile_script(module, example)
        self.notes = [how]
        path.write_bytes(script_bytes(script, form.metadata(context) | {"method": how}))
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the file, run by torch on the CPU in a process that has only that."""
        return Isolated(RUNNER, "torchscript", path)


def compile_script(
    module: Deployed, example: Tree, format_name: str = "torchscript"
) -> tuple[torch.jit.ScriptModule, str]:
    """Return a network as TorchScript, and a line on how it became that: scripted, or traced and why.

    Raises CannotExport where it cannot be scripted and its path depends on the data: a trace would freeze the path of
    the example; and where its inputs are a tree within a tree, which has no type in TorchScript.
    """
    if not isinstance(example, Tensor) and not all(isinstance(part, Tensor) for part in _parts(example)):
        raise CannotExport(
            f"{format_name} takes a tensor, or a dict or tuple of tensors, and these are deeper "
            f"({', '.join(named_leaves(example))}); export=onnx, pt2 or safetensors can"
        )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            network: torch.jit.ScriptModule = torch.jit.script(module.network)
            how = "scripted"
        except Exception as error:
            network = _trace(module.network, module.prepare(example), format_name)
            how = f"traced, since it cannot be scripted: {_last_line(error)}"
        # What is done to the samples may be any function: it is the same for all of them, so that a trace has it all.
        if not isinstance(example, Tensor):
            return _traced(Deployed(module.prepare, network, module.finish).eval(), example), how
        prepare = _traced(module.prepare, example)
        return torch.jit.script(Deployed(prepare, network, module.finish).eval()), how


def _parts(tree: Tree) -> Iterable[Tree]:
    """Return the trees within a tree."""
    return tree.values() if isinstance(tree, dict) else tree


def script_bytes(script: torch.jit.ScriptModule, metadata: dict[str, str]) -> bytes:
    """Return the file of a script, with what it says of itself."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(script, file, _extra_files={METADATA_NAME: json.dumps(metadata, ensure_ascii=False)})
    return strip_script(file.getvalue())


def _traced(module: nn.Module, example: Tree) -> torch.jit.ScriptModule:
    """Return a trace, which takes the tree that its example is; parts that were scripted stay so."""
    return torch.jit.trace(module, (example,), check_trace=False, strict=False)


def _trace(network: nn.Module, example: Tree, format_name: str) -> torch.jit.ScriptModule:
    """Return a trace; raise CannotExport where it would hold only one of several paths."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace = _traced(network, example)
    # A trace warns of each tensor that becomes a bool or a number in Python, of a harmless shape as well. torch.export
    # can tell them apart.
    if any(issubclass(item.category, torch.jit.TracerWarning) for item in caught):
        try:
            torch.export.export(network, (example,), dynamic_shapes=(batches_of(example),), strict=False)
        except Exception as error:
            raise cannot_follow(format_name) from error
    return trace


def _last_line(error: Exception) -> str:
    """Return what script says first of a network, without its drawing of the source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return without_paths((lines or [type(error).__name__])[0][:150])

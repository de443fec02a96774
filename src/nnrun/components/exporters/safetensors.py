"""Safetensors: the weights only, safe to load, with config, names and preprocessing in `model.json`.

This is the format for exchanging weights. Its user needs the network's class, but nothing else of nnrun.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nnrun.base.files import sha256_of, write_json
from nnrun.checkpoints.model_card import CARD_NAME, FORMAT, SCHEMA
from nnrun.components.exporters.deployed import ArtifactForm
from nnrun.components.exporters.stripping import sort_safetensors
from nnrun.core.outputs import scores_of
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import ExportContext


class SafetensorsExporter:
    """Write `model.safetensors`, and `model.json` with config, names and preprocessing in the same folder."""

    typical_seconds = 0.1
    preprocess = False
    output = "scores"
    more_metadata: Mapping[str, str] = {}

    def __init__(self, tolerance: float, min_agreement: float) -> None:
        self.tolerance = tolerance
        self.min_agreement = min_agreement
        self.notes = ["weights only: verified in the network's class, which the user needs too"]
        self._skeleton, self._finish = nn.Module(), nn.Module()

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path."""
        from safetensors.torch import save  # noqa: PLC0415 - a run that exports nothing does not pay for it

        self._skeleton, self._finish = copy.deepcopy(model), context.problem.final_layer("scores")
        metadata = ArtifactForm(self.preprocess, "scores").metadata(context)
        if not isinstance(self._finish, nn.Identity):
            metadata["output"] = f"the network's own outputs; its problem turns them into {metadata['output']}"
        path = folder / "model.safetensors"
        # A copy of each tensor: the format rejects tensors that share memory.
        weights = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
        path.write_bytes(sort_safetensors(save(weights, {**metadata, **self.more_metadata})))
        card = {
            "format": FORMAT,
            "version": SCHEMA,
            "weights": path.name,
            "sha256": sha256_of(path),
            "input": metadata["input"],
            "output": metadata["output"],
            "targets": context.targets.to_plain(),
            **({"class_names": list(context.targets.names)} if context.targets.kind == "classes" else {}),
            "problem": context.problem.state_dict(),
            "preprocessing": context.preprocessing.to_plain(),
            "run_id": context.run_id,
            "metric": context.problem.headline,
            # JSON has no NaN, the R2 of a single sample.
            f"test_{context.problem.headline}": None if math.isnan(context.score) else context.score,
            "nnrun_version": metadata["nnrun_version"],
            "config": context.config,
        }
        write_json(folder / CARD_NAME, card, SCHEMA)
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the network's class with the weights of the file, read by the safetensors library."""
        from safetensors import safe_open  # noqa: PLC0415 - as above

        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        network = copy.deepcopy(self._skeleton)
        with torch.no_grad():
            # Clear the trained weights, so that one that is missing in the file is noticed.
            for tensor in network.state_dict().values():
                tensor.fill_(math.nan if tensor.is_floating_point() else 0)
        network.load_state_dict(weights)
        network, finish = network.eval(), self._finish
        return lambda samples: finish(scores_of(network(samples)))

"""The network as it is deployed, with its preprocessing inside or bare, and what its artifact says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import nnrun
from nnrun.components.data.image_form import conversion_of
from nnrun.core.outputs import scores_of
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import ALONE, named_leaves, num_samples

# What an artifact of torch's says of itself, as a file in it.
METADATA_NAME = "nnrun.json"


class Prepare(nn.Module):
    """A preprocessing as a part of a network."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, raw: Tree) -> Tree:
        """Return the network's input for raw samples, uint8 `(N, C, H, W)` for images."""
        return self.preprocessing(raw)


class Deployed(nn.Module):
    """A network between what is done to the samples before it, and to its scores after it."""

    def __init__(self, prepare: nn.Module, network: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.network = network
        self.finish = finish

    def forward(self, samples: Tensor) -> Tensor:
        """Return the scores or probabilities of raw or normalised samples."""
        return self.finish(self.network(self.prepare(samples)))


class FirstAlone(nn.Module):
    """A network that gives a pair, scores and features, without the features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)[0]


class ScoresAlone(nn.Module):
    """A network that gives a dict, of which the scores are taken."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)["scores"]


def giving_scores(network: nn.Module, inputs: Tree) -> nn.Module:
    """Return a network that gives scores for inputs such as these: the network itself, unless it gives more."""
    with torch.no_grad():
        outputs = network.eval()(inputs)
    if isinstance(scores_of(outputs), Tensor) and not isinstance(outputs, Tensor):
        return ScoresAlone(network) if isinstance(outputs, Mapping) else FirstAlone(network)
    return network


@dataclass(frozen=True)
class ArtifactForm:
    """What an artifact takes and gives: raw samples or (not `preprocess`) normalised ones; its problem's `output`."""

    preprocess: bool
    output: Output

    def deployed(self, network: nn.Module, context: ExportContext) -> tuple[Deployed, Tree]:
        """Return the module that an artifact is made of, in eval mode, and an example batch of what it takes."""
        if self.output == "probabilities" and not context.problem.has_probabilities:
            raise CannotExport(f"{context.targets.kind} have no probabilities; use its setting output=scores")
        finish = context.problem.final_layer(self.output)
        prepare = Prepare(context.preprocessing) if self.preprocess else nn.Identity()
        example = self.example(context)
        if num_samples(example) == 1:
            # torch takes a batch of 1 for a constant.
            example = tree_map(lambda leaf: leaf.repeat(2, *[1] * (leaf.dim() - 1)), example)
        network = giving_scores(network, context.preprocessing(context.example))
        return Deployed(prepare, network, finish).eval(), example

    def example(self, context: ExportContext) -> Tree:
        """Return some samples as the artifact takes them."""
        return context.example if self.preprocess else context.preprocessing(context.example)

    def metadata(self, context: ExportContext) -> dict[str, str]:
        """Return what an artifact says of itself."""
        names = json.dumps(list(context.targets.names), ensure_ascii=False)
        return {
            # Until 0.3.0 there was nothing else to learn.
            **({"class_names": names} if context.targets.kind == "classes" else {}),
            "targets": json.dumps(context.targets.to_plain(), ensure_ascii=False),
            "problem": json.dumps(self._problem(context), ensure_ascii=False),
            "input": self._input(context),
            "inputs": json.dumps(self._inputs(context), ensure_ascii=False),
            "input_kind": "raw" if self.preprocess else "normalised",
            "output": context.problem.described(self.output),
            "output_kind": self.output,
            "preprocessing": json.dumps(context.preprocessing.to_plain()),
            "run_id": context.run_id,
            # How image files are read besides their size and channels.
            **conversion_of(context.config.get("data", {})).texts(),
            "metric": context.problem.headline,
            f"test_{context.problem.headline}": f"{context.score:.6f}",
            "nnrun_version": nnrun.__version__,
        }

    def _problem(self, context: ExportContext) -> dict[str, Any]:
        """Return of which class the problem is, by its section of the config, and what it was fitted to."""
        kind = type(context.problem)
        section = context.config.get("problem") or {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
        return {**section, "state": context.problem.state_dict()}

    def _inputs(self, context: ExportContext) -> dict[str, Any]:
        """Return the type and the shape of each tensor that an artifact takes, by name; the first dimension is free."""
        return {
            name: {"dtype": str(leaf.dtype).removeprefix("torch."), "shape": [None, *leaf.shape[1:]]}
            for name, leaf in named_leaves(self.example(context)).items()
        }

    def _input(self, context: ExportContext) -> str:
        """Return what an artifact takes: for each tensor its kind, its type and its shape."""
        raw = named_leaves(context.example)
        said = {
            name: _kind(leaf, raw.get(name, leaf), is_raw=self.preprocess)
            for name, leaf in named_leaves(self.example(context)).items()
        }
        return said[ALONE] if list(said) == [ALONE] else "; ".join(f"{name}: {kind}" for name, kind in said.items())


def _kind(taken: Tensor, raw: Tensor, *, is_raw: bool) -> str:
    """Return what one tensor is that an artifact takes: pixels, or floats as the data were stored, or normalised."""
    what = "pixels" if raw.dim() == 4 and (raw.dtype == torch.uint8 or not is_raw) else "values"
    dtype = str(taken.dtype).removeprefix("torch.")
    shape = "N, C, H, W" if taken.dim() == 4 else ", ".join(["N", *map(str, taken.shape[1:])])
    return f"{'raw' if is_raw else 'normalised'} {what}, {dtype}, ({shape})"


def batches_of(tree: Tree) -> Any:
    """Return what torch.export is told of a batch: the first dimension of every tensor is free."""
    return tree_map(lambda _: {0: torch.export.Dim.DYNAMIC}, tree)

"""The network as it is deployed, with or without its preprocessing, and the metadata of its artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import nnrun
from nnrun.components.data.image_form import conversion_of
from nnrun.core.outputs import scores_of
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.export import CannotExport, ExportContext
from nnrun.core.seams.problem import Output
from nnrun.core.trees import ALONE, named_leaves, num_samples

# The metadata file inside a torch artifact.
METADATA_NAME = "nnrun.json"
# The dimension of the samples.
_BATCH = {0: "batch"}


class Prepare(nn.Module):
    """A preprocessing as a module."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, raw: Tree) -> Tree:
        """Return the network's input for raw samples, uint8 `(N, C, H, W)` for images."""
        return self.preprocessing(raw)


class Deployed(nn.Module):
    """A network with its preprocessing before it and its final layer after it."""

    def __init__(self, prepare: nn.Module, network: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.network = network
        self.finish = finish

    def forward(self, samples: Tensor) -> Tensor:
        """Return the scores or probabilities of raw or normalized samples."""
        return self.finish(self.network(self.prepare(samples)))


class FirstAlone(nn.Module):
    """The scores of a network that returns a pair, scores and features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)[0]


class ScoresAlone(nn.Module):
    """The scores of a network that returns a dict."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)["scores"]


def giving_scores(network: nn.Module, inputs: Tree) -> nn.Module:
    """Return a network that returns scores alone for inputs like these: the network itself, unless it returns more."""
    with torch.no_grad():
        outputs = network.eval()(inputs)
    if isinstance(scores_of(outputs), Tensor) and not isinstance(outputs, Tensor):
        return ScoresAlone(network) if isinstance(outputs, Mapping) else FirstAlone(network)
    return network


@dataclass(frozen=True)
class ArtifactForm:
    """The input and output of an artifact: raw samples, or normalized ones without `preprocess`; and its `output`."""

    preprocess: bool
    output: Output

    def deployed(self, network: nn.Module, context: ExportContext) -> tuple[Deployed, Tree]:
        """Return the module to export, in eval mode, and an example batch of its input."""
        if self.output == "probabilities" and not context.problem.has_probabilities:
            raise CannotExport(f"{context.targets.kind} have no probabilities; set output=scores for this format")
        finish = context.problem.final_layer(self.output)
        prepare = Prepare(context.preprocessing) if self.preprocess else nn.Identity()
        example = self.example(context)
        if num_samples(example) == 1:
            # torch treats a batch size of 1 as a constant.
            example = tree_map(lambda leaf: leaf.repeat(2, *[1] * (leaf.dim() - 1)), example)
        network = giving_scores(network, context.preprocessing(context.example))
        return Deployed(prepare, network, finish).eval(), example

    def example(self, context: ExportContext) -> Tree:
        """Return a few samples in the form that the artifact takes."""
        return context.example if self.preprocess else context.preprocessing(context.example)

    def metadata(self, context: ExportContext) -> dict[str, str]:
        """Return the metadata of an artifact."""
        names = json.dumps(list(context.targets.names), ensure_ascii=False)
        return {
            # Kept for readers from before 0.3.0, when all targets were classes.
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
            # How image files are decoded, apart from their size and channels.
            **conversion_of(context.config.get("data", {})).texts(),
            "metric": context.problem.headline,
            f"test_{context.problem.headline}": f"{context.score:.6f}",
            "nnrun_version": nnrun.__version__,
        }

    def _problem(self, context: ExportContext) -> dict[str, Any]:
        """Return the problem's section of the config, which names its class, and its fitted state."""
        kind = type(context.problem)
        section = context.config.get("problem") or {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
        return {**section, "state": context.problem.state_dict()}

    def _inputs(self, context: ExportContext) -> dict[str, Any]:
        """Return dtype and shape of each input tensor of an artifact, by name; None is any size."""
        example = self.example(context)
        axes = free_axes(example, context)
        return {
            name: {
                "dtype": str(leaf.dtype).removeprefix("torch."),
                "shape": [None if place in free else size for place, size in enumerate(leaf.shape)],
            }
            for (name, leaf), free in zip(named_leaves(example).items(), axes, strict=True)
        }

    def _input(self, context: ExportContext) -> str:
        """Return the input of an artifact in words: for each tensor its kind, dtype and shape."""
        raw, inputs = named_leaves(context.example), self._inputs(context)
        kinds = {
            name: _kind(leaf, raw.get(name, leaf), inputs[name]["shape"], is_raw=self.preprocess)
            for name, leaf in named_leaves(self.example(context)).items()
        }
        return kinds[ALONE] if list(kinds) == [ALONE] else "; ".join(f"{name}: {kind}" for name, kind in kinds.items())


def _kind(taken: Tensor, raw: Tensor, sizes: Sequence[int | None], *, is_raw: bool) -> str:
    """Return one input tensor of an artifact in words: pixels or values, raw or normalized, with dtype and shape."""
    what = "pixels" if raw.dim() == 4 and (raw.dtype == torch.uint8 or not is_raw) else "values"
    dtype = str(taken.dtype).removeprefix("torch.")
    shape = (
        "N, C, H, W"
        if taken.dim() == 4
        else ", ".join(["N", *("L" if size is None else str(size) for size in sizes[1:])])
    )
    return f"{'raw' if is_raw else 'normalized'} {what}, {dtype}, ({shape})"


def batches_of(tree: Tree, context: ExportContext) -> Any:
    """Return the dynamic shapes of a batch for torch.export: the number of samples, and what differs between them."""
    axes = [dict.fromkeys(free, torch.export.Dim.DYNAMIC) for free in free_axes(tree, context)]
    return tree_unflatten(axes, tree_flatten(tree)[1])


def free_axes(tree: Tree, context: ExportContext) -> list[dict[int, str]]:
    """Return the dimensions of each tensor of a batch that are not fixed: the samples, and those of different length.

    Each has a word: `{0: "batch", 1: "length"}`.
    """
    names = list(named_leaves(tree))
    if context.in_shape is None:
        return [dict(_BATCH) for _ in names]
    form = tree_flatten(context.example)[1]
    shapes = dict(zip(named_leaves(context.example), form.flatten_up_to(context.in_shape), strict=True))
    is_one = sum(None in shape for shape in shapes.values()) == 1
    # A preprocessing may add tensors, such as the flags of empty cells: their samples are all of one size.
    return [_BATCH | _free(shapes.get(name, ()), "length" if is_one else f"{name}_length") for name in names]


def _free(shape: Sequence[int | None], word: str) -> dict[int, str]:
    """Return the words for the dimensions of a sample that are not fixed."""
    places = [place for place, size in enumerate(shape, 1) if size is None]
    return {place: word if len(places) == 1 else f"{word}_{place}" for place in places}

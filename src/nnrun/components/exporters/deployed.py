"""The network as it is deployed, with its preprocessing inside or bare, and what its artifact says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

import nnrun
from nnrun.core.seams.data import Preprocessing
from nnrun.core.seams.export import ExportContext

# What an artifact of torch's says of itself, as a file in it.
METADATA_NAME = "nnrun.json"
Output = Literal["scores", "probabilities"]
OUTPUTS: dict[Output, str] = {
    "scores": "class scores before the softmax (logits), float32, (N, classes)",
    "probabilities": "class probabilities (softmax), float32, (N, classes)",
}


class Prepare(nn.Module):
    """A preprocessing as a part of a network."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, raw: Tensor) -> Tensor:
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


@dataclass(frozen=True)
class ArtifactForm:
    """What an artifact takes and gives: raw samples or (not `preprocess`) normalised ones; scores or probabilities."""

    preprocess: bool
    output: Output

    def deployed(self, network: nn.Module, context: ExportContext) -> tuple[Deployed, Tensor]:
        """Return the module that an artifact is made of, in eval mode, and an example batch of what it takes."""
        finish = nn.Softmax(1) if self.output == "probabilities" else nn.Identity()
        prepare = Prepare(context.preprocessing) if self.preprocess else nn.Identity()
        example = context.example if self.preprocess else context.preprocessing(context.example)
        if len(example) == 1:
            # torch takes a batch of 1 for a constant.
            example = example.repeat(2, *[1] * (example.dim() - 1))
        return Deployed(prepare, network, finish).eval(), example

    def metadata(self, context: ExportContext) -> dict[str, str]:
        """Return what an artifact says of itself."""
        return {
            "class_names": json.dumps(list(context.targets.names), ensure_ascii=False),
            "input": self._input(context),
            "output": OUTPUTS[self.output],
            "output_kind": self.output,
            "preprocessing": json.dumps(context.preprocessing.to_plain()),
            "run_id": context.run_id,
            **self._white(context),
            "test_accuracy": f"{context.accuracy:.6f}",
            "nnrun_version": nnrun.__version__,
        }

    def _white(self, context: ExportContext) -> dict[str, str]:
        """Return what became 255 of greys of more than 8 bits, if the network was trained on any."""
        white = context.config.get("data", {}).get("white")
        return {} if white in (None, "auto") else {"white": f"{white:g}"}

    def _input(self, context: ExportContext) -> str:
        """Return what an artifact takes: pixels, or the floats that the data were stored as, or normalised ones."""
        raw = str(context.example.dtype).removeprefix("torch.")
        kind = f"raw pixels, {raw}" if raw == "uint8" else f"raw values, {raw}"
        return f"{kind if self.preprocess else 'normalised pixels, float32'}, (N, C, H, W)"

"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from nnrun.components.models.adapting import check_one_tensor
from nnrun.components.models.linear import LinearModel

# Weights of the first layer above which a note is printed: at the default width, RGB images of 162x162.
MANY_WEIGHTS = 10_000_000


class MLP(nn.Module):
    """Flatten, then Linear, ReLU and Dropout for each hidden width, then Linear.

    Takes `(N, *in_shape)` and returns scores `(N, num_classes)`. `hidden` is a list of widths, or one width;
    an empty list makes it logistic regression. Of a table, which `facts` describe, the first layer takes the scaled
    numbers and one-hot categories.
    """

    # Of the inputs that the rows of a table have.
    reads_inputs = ("numbers", "categories")

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        hidden: int | Sequence[int] = (128,),
        dropout: float = 0.2,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        table = (facts or {}).get("table")
        widths = [*([hidden] if isinstance(hidden, int) else hidden), num_classes]
        if table is None:
            check_one_tensor(in_shape, "mlp")
            first: nn.Module = nn.Linear(math.prod(in_shape), widths[0])
        else:
            first = LinearModel(table, widths[0]).draw_weights()
        layers = [first, *(nn.Linear(*pair) for pair in pairwise(widths))]
        self.flatten = nn.Flatten() if table is None else nn.Identity()
        self.hidden = nn.Sequential(*(_hidden_layer(layer, dropout) for layer in layers[:-1]))
        self.head = layers[-1]

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        return self.head(self.hidden(self.flatten(inputs)))

    @staticmethod
    def notes(parameters: Mapping[str, Any]) -> list[str]:
        """Return the notes to print about a network with these parameters when training starts."""
        hidden, in_shape = parameters["hidden"], parameters["in_shape"]
        if isinstance(in_shape, Mapping):  # a table
            return []
        widths = [hidden] if isinstance(hidden, int) else list(hidden)
        count = math.prod(in_shape) * widths[0] if widths else 0
        if len(in_shape) != len("CHW") or count < MANY_WEIGHTS:
            return []
        size = "x".join(map(str, in_shape[1:]))
        return [
            f"mlp has {count:,} weights in its first layer for images of {size}; model=cnn or resnet18 has far fewer"
        ]


def _hidden_layer(linear: nn.Module, dropout: float) -> nn.Sequential:
    """Return one hidden layer with named parts, so that the state dict has `hidden.0.linear.weight`."""
    return nn.Sequential(OrderedDict[str, nn.Module](linear=linear, relu=nn.ReLU(), dropout=nn.Dropout(dropout)))

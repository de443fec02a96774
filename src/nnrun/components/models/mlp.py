"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nnrun.components.models.adapting import check_one_tensor


class MLP(nn.Module):
    """Flatten, then Linear, ReLU and Dropout for each hidden width, then Linear.

    Takes `(N, *in_shape)` and returns scores `(N, num_classes)`. `hidden` is a list of widths, or one width;
    an empty list makes it logistic regression.
    """

    def __init__(
        self, in_shape: Sequence[int], num_classes: int, hidden: int | Sequence[int] = (128,), dropout: float = 0.2
    ) -> None:
        super().__init__()
        check_one_tensor(in_shape, "mlp")
        widths = [math.prod(in_shape), *([hidden] if isinstance(hidden, int) else hidden)]
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(*(_hidden_layer(inputs, width, dropout) for inputs, width in pairwise(widths)))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.hidden(self.flatten(inputs)))


def _hidden_layer(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """Return one hidden layer with names, so that the state dict says `hidden.0.linear.weight`."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](linear=nn.Linear(inputs, width), relu=nn.ReLU(), dropout=nn.Dropout(dropout))
    )

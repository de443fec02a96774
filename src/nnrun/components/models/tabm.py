"""An ensemble of perceptrons for tables that share nearly all of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnrun.components.models.tabular import Columns, check_table


class SharedLinear(nn.Module):
    """A linear layer of several members, `(N, M, inputs)` to `(N, M, outputs)`: one matrix, and vectors of each member.

    Each member scales the inputs and the outputs and adds a bias of its own, after Wen et al. 2020 (BatchEnsemble,
    arXiv 2002.06715). With `has_signs` the scales of the inputs begin at random signs, otherwise at 1.
    """

    def __init__(self, inputs: int, outputs: int, members: int, *, has_signs: bool) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        scales = torch.randint(0, 2, (members, inputs)) * 2.0 - 1 if has_signs else torch.ones(members, inputs)
        self.inputs = nn.Parameter(scales)
        self.outputs = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values * self.inputs, self.weight) * self.outputs + self.bias


class TabM(nn.Module):
    """TabM (Gorishniy et al. 2024, arXiv 2410.24210): `members` perceptrons on the embedded columns of a table.

    Their hidden layers are `SharedLinear`; each has a head of its own. In training each learns on its own, so the
    output is a dict with the scores `members`, `(N, M, num_outputs)`, and their mean. In evaluation it is the mean of
    the scores; the paper averages the probabilities of classes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the settings of its YAML
        self,
        table: Mapping[str, Any],
        num_outputs: int,
        members: int = 16,
        hidden: int | Sequence[int] = (128, 128),
        dropout: float = 0.1,
        number_size: int = 16,
        category_size: int = 8,
    ) -> None:
        super().__init__()
        check_table(table, "tabm")
        self.columns = Columns(table, number_size, category_size)
        widths = [self.columns.size, *([hidden] if isinstance(hidden, int) else hidden)]
        self.hidden = nn.ModuleList(
            SharedLinear(*pair, members, has_signs=not place) for place, pair in enumerate(pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)
        self.members = members
        bound = widths[-1] ** -0.5
        self.head = nn.Parameter(torch.empty(members, widths[-1], num_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, num_outputs).uniform_(-bound, bound))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        values = self.columns(inputs)[:, None].expand(-1, self.members, -1)
        for layer in self.hidden:
            values = self.dropout(functional.relu(layer(values)))
        scores = torch.einsum("nmi,mio->nmo", values, self.head) + self.bias
        mean = scores.mean(1)
        return {"scores": mean, "members": scores} if self.training else mean

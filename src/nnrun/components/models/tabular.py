"""A perceptron on the embedded columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.base.errors import ConfigError


class Columns(nn.Module):
    """Embed the numbers and the categories of rows, `TablePreprocessing`'s output, into one vector `(N, size)`.

    A number is embedded as a piecewise-linear function of it, with a linear part, after Gorishniy et al. 2022 (arXiv
    2203.05556) and their later version without activation (2024, TabM). Categories share one matrix, with a row for
    each. The rows for missing and unknown ones begin at zero.
    """

    starts: Tensor

    def __init__(self, table: Mapping[str, Any], number_size: int, category_size: int) -> None:
        super().__init__()
        self.num_numbers, counts = table["numbers"], list(table["categories"])
        if self.num_numbers:
            self.linear = nn.Parameter(torch.empty(self.num_numbers, number_size).uniform_(-1, 1))
            self.bias = nn.Parameter(torch.empty(self.num_numbers, number_size).uniform_(-1, 1))
            # The bins add nothing at first.
            self.bins = nn.Parameter(torch.zeros(self.num_numbers, table["bins"], number_size))
        if counts:
            self.categories = nn.Embedding(sum(counts), category_size)
            starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
            nn.init.uniform_(self.categories.weight, -(category_size**-0.5), category_size**-0.5)
            with torch.no_grad():
                for start in starts.tolist():
                    self.categories.weight[start : start + 2] = 0
            self.register_buffer("starts", starts, persistent=False)
        self.size = self.num_numbers * number_size + table["flags"] + len(counts) * category_size

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        parts = []
        if "numbers" in inputs:
            numbers, flags = inputs["numbers"][:, : self.num_numbers], inputs["numbers"][:, self.num_numbers :]
            embedded = torch.bmm(inputs["bins"].transpose(0, 1), self.bins).transpose(0, 1)
            embedded = embedded + torch.addcmul(self.bias, numbers[:, :, None], self.linear)
            parts += [embedded.flatten(1), flags]
        if "categories" in inputs:
            parts.append(self.categories(inputs["categories"] + self.starts).flatten(1))
        return torch.cat(parts, 1)


class Tabular(nn.Module):
    """A perceptron on the embedded columns of a table: Linear, ReLU and Dropout for each hidden width, then Linear.

    `table` says what the data has: `numbers`, `flags`, `bins`, and the number of codes of each of `categories`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the settings of its YAML
        self,
        table: Mapping[str, Any],
        num_outputs: int,
        hidden: int | Sequence[int] = (256, 256),
        dropout: float = 0.1,
        number_size: int = 16,
        category_size: int = 8,
    ) -> None:
        super().__init__()
        check_table(table, "tabular")
        self.columns = Columns(table, number_size, category_size)
        widths = [self.columns.size, *([hidden] if isinstance(hidden, int) else hidden)]
        self.hidden = nn.Sequential(
            *(nn.Sequential(nn.Linear(*pair), nn.ReLU(), nn.Dropout(dropout)) for pair in pairwise(widths))
        )
        self.head = nn.Linear(widths[-1], num_outputs)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.head(self.hidden(self.columns(inputs)))


def check_table(table: Any, network: str) -> None:
    """Raise ConfigError unless the samples are rows of a table."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"model={network} is for tables: use data=table, or another model")

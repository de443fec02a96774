"""A linear model of the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.components.models.tabular import check_table


class LinearModel(nn.Module):
    """Add up a weight times each number and a weight for each category: linear, or logistic, regression.

    `table` is that of `Tabular`. All weights begin at zero. It is what `nn.Linear` computes of one-hot categories,
    without making these.
    """

    reads_inputs = ("numbers", "categories")
    starts: Tensor

    def __init__(self, table: Mapping[str, Any], num_outputs: int) -> None:
        super().__init__()
        check_table(table, "linear")
        counts, num_numbers = list(table["categories"]), table["numbers"] + table["flags"]
        # How many inputs differ from 0 in a row.
        self.num_inputs = num_numbers + len(counts)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        if num_numbers:
            self.numbers = nn.Parameter(torch.zeros(num_numbers, num_outputs))
        if counts:
            self.categories = nn.Embedding.from_pretrained(torch.zeros(sum(counts), num_outputs), freeze=False)
            self.register_buffer("starts", torch.tensor([0, *counts[:-1]]).cumsum(0), persistent=False)

    def draw_weights(self) -> LinearModel:
        """Draw the weights as `nn.Linear` does, in place, and return the layer."""
        bound = self.num_inputs**-0.5
        for weights in self.parameters():
            nn.init.uniform_(weights, -bound, bound)
        return self

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the scores `(N, num_outputs)` of `TablePreprocessing`'s output."""
        scores: Tensor = self.bias
        if "numbers" in inputs:
            scores = scores + inputs["numbers"] @ self.numbers
        if "categories" in inputs:
            scores = scores + self.categories(inputs["categories"] + self.starts).sum(1)
        return scores

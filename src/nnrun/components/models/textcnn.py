"""Convolutions over the tokens of a text, and the maximum of each feature (Kim 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnrun.components.models.masking import check_tokens, is_token, largest_of


class TextCNN(nn.Module):
    """Convolutions of several widths over embeddings, each followed by ReLU and the maximum over the text.

    Takes token numbers `(N, L)`, padded with 0, and returns scores `(N, num_outputs)`. A window begins at each token;
    what it covers beyond the end of a text is zero, however much padding there is.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parameters of its YAML
        self,
        in_shape: Any,
        vocab_size: int,
        num_outputs: int,
        dim: int,
        filters: int,
        widths: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        check_tokens(in_shape, "textcnn")
        self.embedding = nn.Embedding(vocab_size, dim)
        self.convs = nn.ModuleList(nn.Conv1d(dim, filters, width, padding=width - 1) for width in widths)
        self.widths = tuple(widths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(widths), num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        there = is_token(tokens)
        states = (self.embedding(tokens) * there[:, :, None]).transpose(1, 2)
        found = []
        for conv, width in zip(self.convs, self.widths, strict=True):
            # Without the windows that begin before the text.
            features = functional.relu(conv(states)[:, :, width - 1 :])
            found.append(largest_of(features.transpose(1, 2), there))
        return self.head(self.dropout(torch.cat(found, 1)))

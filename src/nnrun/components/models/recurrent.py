"""Recurrent networks over the tokens of a text, in both directions: GRU and LSTM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nnrun.components.models.masking import check_tokens, is_token, mean_of


class _Recurrent(nn.Module):
    """Embeddings, recurrent layers in both directions, and the mean of their outputs over the text.

    Takes token numbers `(N, L)`, padded with 0 at the end, and returns scores `(N, num_outputs)`. A layer that reads
    backward gets each text turned around, padding still last: neither direction sees padding before a token.
    """

    num_states: int
    cell: type[nn.GRU] | type[nn.LSTM]

    def __init__(  # noqa: PLR0913, PLR0917 - the parameters of its YAML
        self, in_shape: Any, vocab_size: int, num_outputs: int, dim: int, hidden: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        check_tokens(in_shape, type(self).__name__.lower())
        self.embedding = nn.Embedding(vocab_size, dim)
        sizes = [dim] + [2 * hidden] * (depth - 1)
        self.forward_layers = nn.ModuleList(self.cell(size, hidden, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(self.cell(size, hidden, batch_first=True) for size in sizes)
        self.hidden = hidden
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        there = is_token(tokens)
        turned = _turned(there)
        states = self.embedding(tokens)
        for ahead, back in zip(self.forward_layers, self.backward_layers, strict=True):
            states = self.dropout(states)
            backward = _rows(self._run(back, _rows(states, turned)), turned)
            states = torch.cat([self._run(ahead, states), backward], 2)
        return self.head(self.dropout(mean_of(states, there)))

    def _run(self, layer: nn.Module, states: Tensor) -> Tensor:
        """Return the outputs of a layer, which starts from zeros."""
        # Written out: exported without it, the layer would take only batches of the size of the example.
        zeros = states.new_zeros(1, states.shape[0], self.hidden)
        return layer(states, zeros if self.num_states == 1 else (zeros, zeros))[0]


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014)."""

    num_states = 1
    cell = nn.GRU


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    num_states = 2
    cell = nn.LSTM


def _turned(there: Tensor) -> Tensor:
    """Return, for each position of `(N, L)`, where its token is once the text is turned around; padding stays."""
    places = torch.arange(there.shape[1], device=there.device)[None, :]
    last = there.sum(1, keepdim=True) - 1
    return torch.where(places <= last, last - places, places)


def _rows(states: Tensor, places: Tensor) -> Tensor:
    """Return the states `(N, L, D)` at some places of each text, `(N, L)`."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))

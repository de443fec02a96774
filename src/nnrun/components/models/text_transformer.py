"""A transformer encoder over the tokens of a text: pre-norm, with rotary positions (Su et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnrun.base.errors import Complaint, ConfigError
from nnrun.components.models.masking import check_tokens, is_token, mean_of

# Added to the score of padding: its weight is exactly 0, and a text of padding alone gives no NaN.
_NEVER = -1e4
_BASE = 10_000.0


class TextTransformer(nn.Module):
    """Embeddings, blocks of attention and an MLP, and the mean over the text.

    Takes token numbers `(N, L)`, padded with 0, and returns scores `(N, num_outputs)`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parameters of its YAML
        self,
        in_shape: Any,
        vocab_size: int,
        num_outputs: int,
        dim: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_tokens(in_shape, "transformer")
        if dim % (2 * heads):
            text = f"model.dim={dim} must be a multiple of twice model.heads={heads}: positions turn pairs of numbers"
            raise ConfigError(Complaint("model.dim", text, ("model.heads",)))
        self.embedding = nn.Embedding(vocab_size, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_outputs)
        self.angle_dim = dim // heads // 2

    def forward(self, tokens: Tensor) -> Tensor:
        there = is_token(tokens)
        states = self.dropout(self.embedding(tokens))
        hidden = (~there)[:, None, None, :].to(states.dtype) * _NEVER
        rates = _BASE ** (-torch.arange(self.angle_dim, device=tokens.device) / self.angle_dim)
        angles = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * rates
        turns = (angles.cos().to(states.dtype), angles.sin().to(states.dtype))
        for block in self.blocks:
            states = block(states, hidden, turns)
        return self.head(self.dropout(mean_of(self.norm(states), there)))


class _Block(nn.Module):
    """Attention and an MLP, each on normalized states and added to them."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.queries_keys_values = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, hidden: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        return_shape = states.shape
        parts = self.queries_keys_values(self.norm1(states)).chunk(3, 2)
        queries, keys, values = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        rate = self.rate if self.training else 0.0
        seen = functional.scaled_dot_product_attention(
            _turned(queries, turns), _turned(keys, turns), values, attn_mask=hidden, dropout_p=rate
        )
        states = states + self.dropout(self.out(seen.transpose(1, 2).reshape(return_shape)))
        return states + self.dropout(self.mlp(self.norm2(states)))


def _turned(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Return queries or keys `(N, H, L, D)` with the pairs of numbers turned by the angles of their positions."""
    cos, sin = turns
    left, right = states.chunk(2, 3)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], 3)

"""A bag of words: the mean of embeddings of tokens and of pairs of neighbors, as in fastText (Joulin et al. 2016)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nnrun.components.models.masking import check_tokens, is_token, sum_of

# A prime, so that pairs of tokens spread over all buckets.
_PRIME = 1_000_003


class Bag(nn.Module):
    """The mean of the embeddings of a text's tokens, then a linear layer.

    Takes token numbers `(N, L)`, padded with 0, and returns scores `(N, num_outputs)`. With `ngrams` 2, pairs of
    neighboring tokens have embeddings too: pairs are hashed into `buckets`, and those in one bucket share one.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parameters of its YAML
        self, in_shape: Any, vocab_size: int, num_outputs: int, dim: int, ngrams: int, buckets: int, dropout: float
    ) -> None:
        super().__init__()
        check_tokens(in_shape, "bag")
        self.embedding = nn.Embedding(vocab_size, dim)
        self.pairs = nn.Embedding(buckets, dim) if ngrams == 2 else None
        self.buckets = buckets
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_outputs)
        for table in (self.embedding, self.pairs):
            if table is not None:
                nn.init.normal_(table.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        there = is_token(tokens)
        total, count = sum_of(self.embedding(tokens), there), there.sum(1, keepdim=True)
        if self.pairs is not None:
            first, second = tokens[:, :-1], tokens[:, 1:]
            # The embeddings of a long text are large: they are summed where they are, not put beside the others.
            total = total + sum_of(self.pairs((first * _PRIME + second) % self.buckets), there[:, 1:])
            count = count + there[:, 1:].sum(1, keepdim=True)
        return self.head(self.dropout(total / count.clamp(min=1)))

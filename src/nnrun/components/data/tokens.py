"""Texts as the numbers of their tokens, flat, and the preprocessing that a network of texts is deployed with."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import ArtifactError
from nnrun.components.data import tokenizing
from nnrun.core.ragged import PADDING, Ragged

# The file beside an artifact, and in the run's directory.
FILE = "tokenizer.json"
# Texts that are tokenized at a time: their tokens are Python's numbers until they lie flat.
_CHUNK = 4096
# Characters of a tokenizer that are stored together.
_PIECE = 8000


@dataclass(frozen=True)
class Tokens:
    """The tokenizer of a network of texts, as its JSON or in pieces of it, and the most tokens of a text that it takes.

    `padding` is the number that fills up the texts of a batch; no text has it.

    Called on the numbers of tokens, it returns them unchanged: a tokenizer is not part of a network.
    """

    tokenizer: str | Sequence[str]
    max_length: int
    padding: int = PADDING

    def __post_init__(self) -> None:
        whole = "".join(self.tokenizer)
        # A checkpoint holds no references: `$` is written as JSON may write any character.
        object.__setattr__(self, "tokenizer", whole.replace("$", r"\u0024"))

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the numbers of tokens, int64 `(N, L)`, unchanged."""
        return raw

    def to_plain(self) -> dict[str, Any]:
        """Return the `_target_` and parameters from which the same preprocessing can be built."""
        name = f"{__name__}.{type(self).__name__}"
        # No single text in a checkpoint may be as long as a tokenizer.
        starts = range(0, len(self.tokenizer), _PIECE)
        pieces = [self.tokenizer[start : start + _PIECE] for start in starts]
        more = {} if self.padding == PADDING else {"padding": self.padding}
        return {"_target_": name, "tokenizer": pieces, "max_length": self.max_length, **more}

    def beside(self) -> Mapping[str, str]:
        """Return the files, by name, that a caller of the network needs besides it."""
        return {FILE: json.dumps(json.loads(str(self.tokenizer)), ensure_ascii=False, indent=1) + "\n"}

    @functools.cached_property
    def _opened(self) -> Any:
        try:
            return tokenizing.opened(str(self.tokenizer))
        except ValueError as error:
            raise ArtifactError(f"the tokenizer of the network is {error}") from error

    @property
    def vocab_size(self) -> int:
        """The number of different tokens, padding included."""
        return tokenizing.vocab_size(self._opened)

    @property
    def unknown(self) -> int | None:
        """The number of the token that stands for unknown ones; None if there is none."""
        return tokenizing.unknown(self._opened)

    def of(self, texts: Sequence[str]) -> Tokenized:
        """Return the tokens of texts, cut to `max_length`; the special tokens that end a text stay."""
        lengths: list[int] = []
        values: list[Tensor] = []
        num_cut = num_lost = longest = 0
        closing = min(tokenizing.num_closing(self._opened), self.max_length - 1)
        for start in range(0, len(texts), _CHUNK):
            for tokens in tokenizing.encoded(self._opened, texts[start : start + _CHUNK], self.padding):
                lost, longest = max(0, len(tokens) - self.max_length), max(longest, len(tokens))
                num_cut, num_lost = num_cut + (lost > 0), num_lost + lost
                kept = [*tokens[: self.max_length - closing], *tokens[len(tokens) - closing :]] if lost else tokens
                lengths.append(len(kept))
                values.append(torch.tensor(kept, dtype=torch.int32))
        flat = torch.cat(values) if values else torch.empty(0, dtype=torch.int32)
        samples = Ragged.of(flat, torch.tensor(lengths, dtype=torch.int64), self.padding)
        return Tokenized(samples, num_cut, num_lost, longest)


@dataclass(frozen=True)
class Tokenized:
    """The tokens of texts, how many texts were cut, how many tokens these lost, and the tokens of the longest text."""

    samples: Ragged
    num_cut: int
    num_lost: int
    longest: int = 0

    @property
    def num_empty(self) -> int:
        """The number of texts without a token."""
        return int((self.samples.lengths == 0).sum())

    @property
    def num_tokens(self) -> int:
        """The number of tokens before any were cut."""
        return int(self.samples.lengths.sum()) + self.num_lost

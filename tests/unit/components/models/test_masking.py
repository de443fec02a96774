"""Networks of texts: more padding gives the same scores, whatever the lengths beside a text; empty texts are finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnrun.base.errors import ConfigError
from nnrun.components.models.bag import Bag
from nnrun.components.models.recurrent import GRU, LSTM
from nnrun.components.models.text_transformer import TextTransformer
from nnrun.components.models.textcnn import TextCNN

SMALL: dict[type[nn.Module], dict[str, Any]] = {
    Bag: {"dim": 8, "ngrams": 2, "buckets": 50, "dropout": 0.1},
    TextCNN: {"dim": 8, "filters": 6, "widths": [2, 5], "dropout": 0.1},
    GRU: {"dim": 8, "hidden": 5, "depth": 2, "dropout": 0.1},
    LSTM: {"dim": 8, "hidden": 5, "depth": 2, "dropout": 0.1},
    TextTransformer: {"dim": 8, "depth": 2, "heads": 2, "dropout": 0.1},
}
KINDS = list(SMALL)
# Two texts of 7 and 3 tokens, and an empty one.
TOKENS = torch.tensor([[4, 9, 2, 7, 3, 3, 8], [5, 1, 6, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])


def network(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind(in_shape=(None,), vocab_size=12, num_outputs=3, **SMALL[kind]).eval()


def padded(tokens: Tensor, width: int) -> Tensor:
    return nn.functional.pad(tokens, (0, width - tokens.shape[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_more_padding_gives_the_same_scores(kind: type[nn.Module]) -> None:
    made = network(kind)
    scores = made(TOKENS)
    assert scores.shape == (3, 3)
    assert scores.isfinite().all()
    for width in (8, 16, 40):
        torch.testing.assert_close(made(padded(TOKENS, width)), scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made(TOKENS[1:2, :3]), scores[1:2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(made(TOKENS.flip(0)[:1]), scores[:1]), "the negative control: another text"


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_counts_and_every_parameter_learns(kind: type[nn.Module]) -> None:
    made = network(kind)
    before = made(TOKENS)
    for place in (0, 3, 6):
        other = TOKENS.clone()
        other[0, place] = 10
        assert not torch.allclose(made(other)[0], before[0]), f"token {place}"
        torch.testing.assert_close(made(other)[1:], before[1:])
    before.square().sum().backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        # A bias of all keys changes no attention.
        assert weight.grad.any() or "queries_keys_values.bias" in name, name


@pytest.mark.parametrize("kind", KINDS)
def test_samples_that_are_no_texts_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match="texts of any length"):
        kind(in_shape=(1, 28, 28), vocab_size=12, num_outputs=3, **SMALL[kind])


def test_bag_is_the_mean_of_embeddings() -> None:
    """Of tokens alone it is torch's own bag."""
    made = Bag((None,), 12, 3, dim=8, ngrams=1, buckets=1, dropout=0.0).eval()
    mean = nn.functional.embedding_bag(TOKENS[:2], made.embedding.weight, mode="mean", padding_idx=0)
    torch.testing.assert_close(made(TOKENS[:2]), made.head(mean))


def test_a_size_that_positions_cannot_turn_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.dim=10 must be a multiple of twice model\.heads=2"):
        TextTransformer((None,), 12, 3, dim=10, depth=1, heads=2, dropout=0.0)

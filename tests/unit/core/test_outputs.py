"""A network's output is split into scores and features; anything else is left to the checks."""

from __future__ import annotations

import torch

from nnrun.core.outputs import parted, scores_of


def test_a_pair_and_a_dict_are_parted() -> None:
    scores, features = torch.zeros(2, 3), torch.ones(2, 5)
    for outputs in ((scores, features), [scores, features], {"scores": scores, "features": features}):
        found = parted(outputs)
        assert found[0] is scores and found[1] is features
    assert parted({"scores": scores, "more": features}) == (scores, None)
    assert scores_of((scores, features)) is scores


def test_others_are_left_as_they_are() -> None:
    scores = torch.zeros(2, 3)
    for outputs in (scores, (scores,), (scores, scores, scores), {"logits": scores}, (scores, 1), None):
        found = parted(outputs)
        assert found[0] is outputs and found[1] is None

"""The points of a grid: pairs, exclusions, and what is wrong with them."""

from __future__ import annotations

import pytest

from nnrun.base.errors import ConfigError
from nnrun.config.overrides import parse_all
from nnrun.sweeps.combinations import combine

WORDS = ["model=mlp,cnn", "seed=0", "optimizer.lr=1e-3,1e-2", "data=digits,mnist"]


def points(zipped: list[str], *excluded: str, words: list[str] = WORDS) -> list[str]:
    axes = [item for item in parse_all(words)[0] if item.is_sweep]
    return [" ".join(point.values()) for point in combine(axes, zipped, excluded)]


def test_settings_that_are_paired_vary_together() -> None:
    """Negative control: without the pair there are all combinations, in the order typed."""
    assert points(["optimizer.lr", "model"]) == [
        "mlp 0.001 digits",
        "mlp 0.001 mnist",
        "cnn 0.01 digits",
        "cnn 0.01 mnist",
    ]
    assert len(points([])) == 8
    assert points([])[:3] == ["mlp 0.001 digits", "mlp 0.001 mnist", "mlp 0.01 digits"]


def test_excluded_combinations_are_left_out_however_their_numbers_are_typed() -> None:
    kept = points([], "model=mlp,data=mnist", "optimizer.lr=1e-2, model=cnn")
    assert kept == ["mlp 0.001 digits", "mlp 0.01 digits", "cnn 0.001 digits", "cnn 0.001 mnist"]
    lists = ["augment=[digits,mixup],[mixup]", "model=mlp,cnn"]
    assert points([], "augment=[digits,mixup],model=mlp", words=lists) == [
        "[digits,mixup] cnn",
        "[mixup] mlp",
        "[mixup] cnn",
    ]


@pytest.mark.parametrize(
    ("zipped", "excluded", "says"),
    [
        (["model", "scheduler"], [], "sweep.zip: scheduler is not swept over; swept: model, optimizer.lr, data"),
        (["model"], [], "sweep.zip=[model] pairs nothing"),
        ([], ["model=mlp", "model=cnn"], "sweep.exclude excludes all of the 8 combinations"),
        ([], ["model=vit"], "'model=vit' excludes nothing"),
        ([], ["seed=0"], "seed in 'seed=0' is not swept over"),
        ([], ["mlp"], "'mlp' in 'mlp' is not key=value"),
    ],
)
def test_what_cannot_be_paired_or_excluded_is_said(zipped: list[str], excluded: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        points(zipped, *excluded)
    assert says in str(error.value)


def test_pairs_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"need equally many values, but have: model 2, seed 3"):
        points(["model", "seed"], words=["model=mlp,cnn", "seed=0,1,2"])

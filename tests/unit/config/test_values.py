"""What a setting may be, in words and as a list of words."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.config.catalogue import Catalogue
from nnrun.config.option_files import Setting
from nnrun.config.values import allowed_in_words, listed_values
from nnrun.tasks.rules import collect_rules

EVERY = Catalogue().every


@pytest.mark.parametrize(
    ("key", "allowed", "words"),
    [
        ("trainer.epochs", "a whole number from 0 up", []),
        ("trainer.precision", "auto, fp32, bf16, fp16", ["auto", "fp32", "bf16", "fp16"]),
        ("trainer.deterministic", "true or false", ["true", "false"]),
        ("trainer.compile", "auto or true or false", ["auto", "true", "false"]),
        ("data.limit", "a whole number from 1 up or null", ["null"]),
        ("trainer.cuda_graph", "auto or true or false", ["auto", "true", "false"]),
        ("model.batchnorm", "true or false", ["true", "false"]),
        ("model.stem", "auto, imagenet, small", ["auto", "imagenet", "small"]),
        ("scheduler.three_phase", "true or false", ["true", "false"]),
        ("model.in_shape", "", []),
    ],
)
def test_what_a_setting_of_ours_may_be(key: str, allowed: str, words: list[str]) -> None:
    rules = collect_rules()
    assert (allowed_in_words(EVERY[key], rules), listed_values(EVERY[key], rules)) == (allowed, words)


def test_every_word_that_is_listed_is_allowed() -> None:
    rules = collect_rules()
    told = {"true": True, "false": False, "null": None}
    for key, setting in EVERY.items():
        for word in listed_values(setting, rules):
            value = int(word) if word.isdecimal() else told.get(word, word)
            assert key not in rules.ranges or rules.ranges[key].holds(value), (key, word)


@pytest.mark.parametrize(
    ("default", "allowed"),
    [
        ("16", "a whole number"),
        ("1e-3", "a number"),
        ("relu", "a string"),
        ("[1, 2]", "a list"),
        ("null", ""),
        ("{a: 1}", ""),
    ],
)
def test_the_default_of_ones_own_setting_shows_what_it_may_be(default: str, allowed: str) -> None:
    """And no range of ours is meant for it, which has one of this name."""
    setting = Setting("model.dropout", default, "", Path("/mine/conf/model/mynet.yaml"), 3)
    assert allowed_in_words(setting, collect_rules()) == allowed

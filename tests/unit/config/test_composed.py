"""What is a default: what stands in our own files, unless a word, an experiment or a file of the user's says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.cli import compose
from support.command_line import write_files

OWN = {
    "conf/data/mine.yaml": "# Mine.\ndefaults:\n  - _base\n\nname: mine\ndataset:\n  _target_: mine.Mine\n",
    "conf/data/large.yaml": "# Large.\ndefaults:\n  - mine\n\nbatch_size: 512\n",
    "conf/experiment/mine.yaml": "# @package _global_\n# Mine.\ndata:\n  batch_size: 64\n",
    "conf/experiment/more.yaml": "# @package _global_\n# More.\ndefaults:\n  - mine\n\nseed: 3\n",
    "conf/experiment/other.yaml": "# @package _global_\n# Other.\ndefaults:\n  - override /data: large\n\nseed: 3\n",
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["data=folder"], True),
        (["trainer=debug", "optimizer.lr=0.1"], True),
        (["data=mine"], True),
        (["data=large"], False),
        (["data.batch_size=64"], False),
        (["experiment=mnist_fast"], False),
        (["experiment=quick_digits"], True),
        (["experiment=mine"], False),
        (["experiment=more"], False),
        (["experiment=other"], False),
    ],
)
def test_a_batch_size_is_a_default_where_nobody_has_set_it(words, expected, tmp_path: Path, monkeypatch) -> None:
    write_files(tmp_path, OWN)
    monkeypatch.chdir(tmp_path)
    assert compose(words, [tmp_path / "conf"]).is_default("data.batch_size") is expected


def test_what_is_no_setting_is_no_default() -> None:
    assert not compose([]).is_default("data.nothing")


def test_the_values_that_a_caller_gets_are_its_own() -> None:
    composed = compose(["data=mnist"])
    changed = composed.resolved()
    changed["data"]["dataset"]["root"] = "elsewhere"
    assert composed.resolved()["data"]["dataset"]["root"] != "elsewhere"
    # Settings that only the data decides stay unset, though references to them have placeholders.
    assert (changed["data"]["in_shape"], changed["model"]["in_shape"]) == (None, [1, 1, 1])

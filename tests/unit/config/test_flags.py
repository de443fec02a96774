"""What words of a command line say before they are all sorted."""

from __future__ import annotations

import pytest

from nnrun.config.flags import is_switched_on, take_config_dir


@pytest.mark.parametrize(
    ("words", "named", "others"),
    [
        (["a=b", "--config-dir", "mine", "c"], "mine", ["a=b", "c"]),
        (["-cd=mine", "--json"], "mine", ["--json"]),
        (["--config-dir=x", "-cd", "y"], "y", []),
        (["a", "--config-dir"], None, ["a", "--config-dir"]),
    ],
)
def test_the_folder_is_found_in_any_spelling(words: list[str], named: str | None, others: list[str]) -> None:
    assert take_config_dir(words) == (named, others)


def test_a_switch_is_found_by_what_it_sets() -> None:
    assert is_switched_on("is_quiet", ["model=mlp", "-q"])
    assert not is_switched_on("is_quiet", ["--json", "data.root=-q"])

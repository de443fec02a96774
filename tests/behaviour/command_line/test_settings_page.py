"""docs/settings.md says what conf/ says, and docs/index.md names every page."""

from __future__ import annotations

import re

from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import GROUPS, options
from support.settings_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make settings writes it anew"


def test_every_option_and_setting_is_in_it() -> None:
    """Negative control: what is none is not."""
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([^`=]+)` \|", text, re.MULTILINE))
    every = {key for key, setting in Catalogue().every.items() if not setting.is_section}
    assert named == every
    assert len(every) > 200
    assert {f"{group}={option}" for group in GROUPS for option in options(group, ())} == set(
        re.findall(r"^\| `([^`=]+=[^`]+)` \|", text, re.MULTILINE)
    )


def test_the_table_says_what_differs_between_options() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "| `data.batch_size` | `64`; `32` (digits) | samples per training batch; auto: " in text
    assert "| `trainer.precision` | `auto` |" in text and "| auto, fp32, bf16, fp16 |" in text


def test_the_index_names_every_page_and_no_other() -> None:
    index = (PAGE.parent / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in PAGE.parent.glob("*.md")} - {"index.md"}
    assert set(re.findall(r"^\| \[([\w.]+)\]\(\1\) \| \w", index, re.MULTILINE)) == pages

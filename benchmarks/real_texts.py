"""Texts that come with Debian's packages, for benchmarks: which language is a saying, and a word, of.

apt-get install --no-install-recommends fortunes-min fortunes-{bg,br,cs,de,eo,es,ga,it,pl,ru}
apt-get install --no-install-recommends wamerican wdanish wfrench witalian wngerman wpolish wportuguese wspanish
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

FORTUNES, WORDS = Path("/usr/share/games/fortunes"), Path("/usr/share/dict")
# The folders of languages; English ones lie above them.
SAYINGS = {
    "Bulgarian": "bg",
    "Czech": "cs",
    "German": "de",
    "Esperanto": "eo",
    "Spanish": "es",
    "Irish": "ga",
    "Italian": "it",
    "Polish": "pl",
    "Portuguese": "brasil",
    "Russian": "ru",
    "English": "fortunes literature riddles",
}
LISTS = {
    "English": "american-english",
    "Danish": "danish",
    "French": "french",
    "Italian": "italian",
    "German": "ngerman",
    "Polish": "polish",
    "Portuguese": "portuguese",
    "Spanish": "spanish",
}
TEST_SHARE, VALID_SHARE = 0.2, 0.1
Texts = dict[str, list[str]]


def sayings(most: int) -> Texts:
    """Return up to `most` different sayings of each language."""
    found = {}
    for language, places in SAYINGS.items():
        paths = [FORTUNES / place for place in places.split()]
        files = sorted(file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
        texts: list[str] = []
        for file in files:
            if file.suffix in ("", ".fortunes") and file.is_file():
                parts = file.read_text(encoding="utf-8", errors="replace").split("\n%\n")
                texts += [" ".join(part.replace("%", " ").split()) for part in parts]
        found[language] = _some(language, [text for text in texts if len(text) > 3 and "\ufffd" not in text], most)
    return found


def words(most: int) -> Texts:
    """Return up to `most` words of each language's list."""
    found = {}
    for language, name in LISTS.items():
        path = WORDS / name
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found[language] = _some(language, [word for word in lines if word.isalpha()], most)
    return found


SETS: Mapping[str, Callable[[int], Texts]] = {"sayings": sayings, "words": words}


def _some(language: str, texts: list[str], most: int) -> list[str]:
    """Return some of the different texts, the same every time."""
    different = sorted(set(texts))
    if not different:
        sys.exit(f"no texts in {language}: install Debian's packages, as benchmarks/real_texts.py says")
    return random.Random(0).sample(different, min(most, len(different)))


def write_split(texts: Texts, seed: int, path: Path) -> None:
    """Write a CSV file with the columns text, label and split."""
    rows = [(text, language) for language, of in texts.items() for text in of]
    random.Random(seed).shuffle(rows)
    num_test, num_valid = round(TEST_SHARE * len(rows)), round(VALID_SHARE * len(rows))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for place, row in enumerate(rows):
            part = "test" if place < num_test else "valid" if place < num_test + num_valid else "train"
            writer.writerow([*row, part])

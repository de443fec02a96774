"""Small texts with something to learn, for tests."""

from __future__ import annotations

import csv
import random
from pathlib import Path

GOOD, BAD = ("good", "great", "lovely"), ("bad", "awful", "poor")
OTHER = ("the", "film", "was", "a", "plot", "and", "actors", "of", "it", "with")


def reviews(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of 2 to 40 words, and whether they praise: `pos` or `neg`."""
    draws = random.Random(seed)
    found = []
    for index in range(number):
        words = [draws.choice(OTHER) for _ in range(draws.choice((1, 4, 9, 38)))]
        words.insert(draws.randrange(len(words) + 1), draws.choice(BAD if index % 2 else GOOD))
        found.append((" ".join(words), "neg" if index % 2 else "pos"))
    return found


def make_texts(path: Path, number: int, seed: int = 0) -> None:
    """Write a CSV file with the columns id, review, label, stars (a value) and tags (labels)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "label", "stars", "tags"])
        for index, (text, label) in enumerate(reviews(number, seed)):
            stars = (4.5 if label == "pos" else 1.5) + len(text) / 1000
            tags = ";".join(["long"] * (len(text) > 60) + ["praise"] * (label == "pos"))
            writer.writerow([f"r{index}", text, label, stars, tags])

"""Where the labels of images in no class folders may be: in a list beside them, or in their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.finding import is_image_name

LIST_SUFFIXES = (".csv", ".tsv", ".txt")
# The word before a number: `cat.12.jpg`, `dog_7.png`.
_BEGINNING = re.compile(r"([^\W\d_]+)[ ._-]?\d+\.")
_MOST_OPENED, _MOST_CLASSES = 10_000, 100


def way_to_labels(root: Path, folder: Path) -> str:
    """Return a hint on a folder of images without class folders, as the end of a sentence: a list of labels in the
    folder of the data, or classes that the images' names begin with. An empty string where there is neither.
    """
    lists = [path.name for path in sorted(root.iterdir()) if path.suffix.lower() in LIST_SUFFIXES]
    # Where each split has a list, the one for training has labels.
    named = next((name for name in lists if "train" in name.lower()), lists[0] if lists else None)
    if named is not None:
        return f"; if {shown(named)} lists their labels, use data.labels={shown(named)}"
    classes = _beginnings(folder)
    if not classes:
        return ""
    names = few([f"{shown(name)} ({number:,})" for name, number in sorted(classes.items())], 4)
    return f"; their names begin with {names}, which may be the classes. Or list them in labels.csv (file,label)"


def _beginnings(folder: Path) -> Counter[str]:
    """Return the words that the names of a folder's images begin with, each before several numbers; else none."""
    found: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_MOST_OPENED), entries, strict=False):
            if is_image_name(entry.name):
                match = _BEGINNING.match(entry.name)
                found[match[1] if match else ""] += 1
    is_clear = 2 <= len(found) <= _MOST_CLASSES and "" not in found and min(found.values()) > 1
    return found if is_clear else Counter()

"""The core knows no special case: neither what is learned, nor of what, nor on which device."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "src" / "nnrun" / "core"
# Words of one kind of learning, of one kind of samples, of one device.
FORBIDDEN = re.compile(r"accurac|argmax|softmax|classif|image|pixel|picture|cuda", re.IGNORECASE)
# `class` is a word of Python's too: what is named by it, and what a text says of it.
CLASSES = re.compile(r"(^|_)(num_)?class(es)?(_|$)", re.IGNORECASE)
# By file, the words that it may say, and why.
MAY_SAY = {
    # The one place that knows what devices there are.
    "device.py": {"cuda"},
    # The one place that knows what kinds of targets there are.
    "target_values.py": {"classes", "_fault_in_classes"},
    # A logger may show images: the word of those who write loggers.
    "seams/training.py": {"image", "imagelogger"},
    "seams/export.py": {"accurac", "class_names"},
    # What data was called when it could only be classes, taken still.
    "seams/data.py": {"class_names", "classes"},
}


def words_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield what a module says that is of a special case, with the line: names, texts and comments."""
    for number, line in enumerate(source.splitlines(), 1):
        yield from ((number, found.group()) for found in FORBIDDEN.finditer(line))
    tree = ast.parse(source)
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name")]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            names += re.findall(r"\w+", node.value)
        for name in names:
            if isinstance(name, str) and CLASSES.search(name):
                yield getattr(node, "lineno", 0), name


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield what a module imports of rooms above the core, and of libraries that know one kind of data."""
    for node in ast.walk(ast.parse(source)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if re.match(r"nnrun\.(?!base\b|core\b)|PIL\b|torchvision\b|numpy\b|torchmetrics\b|rich\b|hydra\b", module):
                yield node.lineno, module


def found_in(core: Path) -> list[str]:
    """Return what modules of a core say, or import, that they may not."""
    lost = []
    for path in sorted(core.rglob("*.py")):
        name, source = path.relative_to(core).as_posix(), path.read_text(encoding="utf-8")
        allowed = MAY_SAY.get(name, set())
        told = [(line, word) for line, word in words_of(source) if word.lower() not in allowed]
        lost += [f"{name}:{line} {word}" for line, word in [*told, *imports_of(source)]]
    return lost


def test_the_core_says_no_word_of_a_special_case() -> None:
    assert found_in(CORE) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class Loop:\n    '''Of classes of one's own.'''\n", []),
        ("def f(num_classes): ...\n", ["loop.py:1 num_classes"]),
        ("x = state.class_names\n", ["loop.py:1 class_names"]),
        ("raise ValueError('two classes')\n", ["loop.py:1 classes"]),
        ("# the accuracy of it\n", ["loop.py:1 accurac"]),
        ("outputs.argmax(1)\n", ["loop.py:1 argmax"]),
        ("if device.type == 'cuda': ...\n", ["loop.py:1 cuda"]),
        ("def f():\n    '''Return images.'''\n", ["loop.py:2 image"]),
        ("from nnrun.components import models\n", ["loop.py:1 nnrun.components"]),
        ("import torchvision.io\n", ["loop.py:1 torchvision.io"]),
    ],
)
def test_such_a_word_is_found(tmp_path: Path, source: str, expected: list[str]) -> None:
    """Negative control: a core of one module that says it."""
    (tmp_path / "loop.py").write_text(source)
    assert sorted(found_in(tmp_path)) == sorted(expected)

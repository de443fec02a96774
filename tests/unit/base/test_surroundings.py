"""What a block changes in its process is restored, however the block ends."""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from pathlib import Path

import pytest

from nnrun.base.surroundings import kept_surroundings


def test_all_of_it_is_put_back_where_the_block_raises_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "before")
    logger, handler = logging.getLogger("of a program"), logging.NullHandler()
    before = (os.getcwd(), dict(os.environ), list(sys.path), list(warnings.filters), random.getstate())  # noqa: PTH109
    with pytest.raises(ZeroDivisionError), kept_surroundings():
        os.chdir(tmp_path)
        os.environ["THERE"] = "other"
        os.environ["NEW"] = "1"
        sys.path.append(str(tmp_path))
        warnings.simplefilter("error")
        random.seed(1)
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        raise ZeroDivisionError
    after = (os.getcwd(), dict(os.environ), list(sys.path), list(warnings.filters), random.getstate())  # noqa: PTH109
    assert before == after
    assert logger.handlers == [] and logger.level == logging.NOTSET


def test_modules_from_where_one_stands_or_adds_are_forgotten_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, names in (
        ("here", ("here_a", "here_b/__init__", "here_b/inner")),
        ("lib", ("lib_a",)),
        ("new", ("new_a",)),
    ):
        for name in names:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{name}.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "here"), str(tmp_path / "lib")])
    import here_a

    with kept_surroundings():
        sys.path.append(str(tmp_path / "new"))
        import here_b.inner
        import lib_a
        import new_a

        assert {"here_b", "here_b.inner", "lib_a", "new_a"} <= set(sys.modules)
    assert sys.modules["here_a"] is here_a and sys.modules["lib_a"] is lib_a
    assert not {"here_b", "here_b.inner", "new_a"} & set(sys.modules)
    assert here_b.inner and new_a, "what holds them keeps them"
    for name in ("here_a", "lib_a"):
        del sys.modules[name]

"""Restore a process's folder, environment, imports and logging after code that changes them. No torch."""

from __future__ import annotations

import importlib
import logging
import os
import random
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from nnrun.base.foreign_messages import ignore_pillow


@contextmanager
def kept_surroundings() -> Iterator[None]:
    """Restore after the block: the folder, the environment, the module path, warning filters, logging, `random`.

    Modules that the block imports from the current folder, or from a folder that it adds to the path, are forgotten,
    so that the next block imports its own. Modules imported before stay, and the block uses them.
    """
    folder, environment, path, modules = _folder(), dict(os.environ), list(sys.path), set(sys.modules)
    loggers, draws, depth, is_watched = (
        _loggers(),
        random.getstate(),
        sys.getrecursionlimit(),
        _tqdms_thread() is not None,
    )
    # Otherwise Python may not see a file that was written a moment ago.
    importlib.invalidate_caches()
    try:
        with warnings.catch_warnings():
            ignore_pillow()
            yield
    finally:
        _forget(set(sys.modules) - modules, {folder, *map(Path, set(sys.path) - set(path))})
        sys.path[:] = path
        sys.setrecursionlimit(depth)
        random.setstate(draws)
        _put_back_environment(environment)
        for logger, (level, handlers, propagates, is_disabled) in loggers.items():
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate, logger.disabled = propagates, is_disabled
        if not is_watched and (thread := _tqdms_thread()) is not None:
            thread.exit()
            sys.modules["tqdm.std"].tqdm.monitor = None
        with suppress(OSError):
            if folder is not None and _folder() != folder:
                os.chdir(folder)


def _folder() -> Path | None:
    """Return the current folder; None if it no longer exists."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _loggers() -> dict[logging.Logger, tuple[int, list[logging.Handler], bool, bool]]:
    """Return all loggers with their settings."""
    named = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    return {it: (it.level, list(it.handlers), it.propagate, it.disabled) for it in (logging.root, *named)}


def _tqdms_thread() -> Any:
    """Return the thread that tqdm's first bar starts and no bar ends; None if there is none."""
    return getattr(getattr(sys.modules.get("tqdm.std"), "tqdm", None), "monitor", None)


def _put_back_environment(before: dict[str, str]) -> None:
    """Restore each variable of the environment."""
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _forget(names: Collection[str], folders: Collection[Path | None]) -> None:
    """Remove from sys.modules the modules and packages directly in some folders, with all of their submodules."""
    tops = {name for name in names if "." not in name and _home(sys.modules[name]) & set(folders)}
    for name in names:
        if name.partition(".")[0] in tops:
            del sys.modules[name]


def _home(module: ModuleType | None) -> set[Path | None]:
    """Return the folders in which a module or package was found."""
    spec = getattr(module, "__spec__", None)
    if not isinstance(spec, ModuleSpec):
        return set()
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return {Path(place).parent for place in places if place}

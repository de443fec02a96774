"""The one reader of YAML, OmegaConf's, which Hydra uses too, and the one writer, whose output it reads back unchanged.

Plain PyYAML reads `1e-2` as a string, where OmegaConf reads a number.
"""

from __future__ import annotations

import functools
import io
import re
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader

from nnrun.base.errors import ConfigError
from nnrun.base.files import check_is_file

# Python prints whole numbers of up to 4,300 digits.
_MOST_BITS = 10_000
_LINE_ENDS = re.compile(r"[\x85\u2028\u2029\ufeff]")
# In a saved config: a far larger file is not ours; where a section starts; an anchor or a reference to one.
_MOST_SAVED_BYTES = 2**20
_SECTION_STARTS = re.compile(r"^(?=[A-Za-z_][\w.-]*:)", re.MULTILINE)
_ANCHOR = re.compile(r"(?:^|[-:\[,{]\s)\s*[&*]\w", re.MULTILINE)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file; raise ConfigError naming file and line where it holds anything else."""
    try:
        check_is_file(path)
        content = deepcopy(_content_of(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise unreadable(error, path) from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deep") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise ConfigError(f"{path} holds {kind}, but must hold settings: lines of key: value")
    if problems := [f"{path}: {problem}" for problem in keys_that_are_no_texts(content)]:
        raise ConfigError(*problems)
    return content


# The files of a command are read for several purposes, and by each job of a sweep: PyYAML takes a millisecond a file.
@functools.lru_cache(maxsize=256)
def _content_of(text: str) -> Any:
    """Return the content of a YAML file, which is shared: do not change it."""
    return _loaded(text, get_yaml_loader())


def _loaded(text: str, loader: Any) -> Any:
    """Return the content of a YAML text; raise YAMLError, and nothing else, where it has none."""
    try:
        content = yaml.load(text, Loader=loader)
    except (ValueError, AttributeError, KeyError, TypeError, OverflowError) as error:
        # PyYAML converts `!!int x`, `!!bool x`, `!!timestamp x` and very long numbers without looking at them.
        raise yaml.YAMLError("a value is not of its type, or a number is too long") from error
    if _has_long_number(content):
        raise yaml.YAMLError("a number is too long")
    return content


def _has_long_number(tree: Any) -> bool:
    """Return whether a tree has a whole number that Python refuses to print."""
    if isinstance(tree, dict | list):
        return any(map(_has_long_number, tree.values() if isinstance(tree, dict) else tree))
    return isinstance(tree, int) and tree.bit_length() > _MOST_BITS


def value_of(text: str) -> Any:
    """Return the value that YAML text stands for; the text itself if it is not YAML."""
    try:
        return _loaded(text, get_yaml_loader())
    except (yaml.YAMLError, RecursionError):
        return text


def keys_that_are_no_texts(tree: Any, where: str = "") -> list[str]:
    """Complain of keys that YAML reads as a number, true, false or null: checkpoints cannot store those."""
    if isinstance(tree, list):
        return [text for item in tree for text in keys_that_are_no_texts(item, where)]
    problems = []
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if not isinstance(key, str):
            place = f" in {where}" if where else ""
            problems.append(f"a key{place} is {_word(key)}, but must be a string: put it in quotes")
        else:
            problems += keys_that_are_no_texts(value, f"{where}.{key}".removeprefix("."))
    return problems


def _word(key: Any) -> str:
    """Return a key as its file may have it."""
    words = {True: "true (or yes, on)", False: "false (or no, off)", None: "null (or ~)"}
    return words[key] if key is None or isinstance(key, bool) else str(key)


def unreadable(error: yaml.YAMLError, path: Path | None = None) -> ConfigError:
    """Return an error of the reader as a ConfigError with the file, the line, and the problem."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    file = path or (mark.name if mark else "a YAML file")
    return ConfigError(f"{file}{f', line {mark.line + 1}' if mark else ''}: {problem or str(error).splitlines()[0]}")


def refuse_hidden_marks(folder: Path) -> None:
    """Raise ConfigError for a file below a folder whose byte order mark hides its `# @package` line from Hydra."""
    for path in sorted(folder.rglob("*.yaml")):
        with suppress(OSError), path.open("rb") if path.is_file() else io.BytesIO() as file:
            if file.read(16).startswith(b"\xef\xbb\xbf# @package"):
                raise ConfigError(
                    f"{path} begins with a byte order mark, which hides its line '# @package'; save it as UTF-8 "
                    "without BOM"
                )


def yaml_text(tree: Any) -> str:
    """Return plain values as YAML, in their order; a string that the reader would take for a number is in quotes."""
    text = _dumped(tree, allow_unicode=True)
    # The reader ends a line at some of Unicode's line separators too.
    return _dumped(tree, allow_unicode=False) if _LINE_ENDS.search(text) else text


def _dumped(tree: Any, *, allow_unicode: bool) -> str:
    """Return plain values as YAML."""
    if not isinstance(tree, dict) or not tree:
        return _dumped_whole(tree, allow_unicode)
    return "".join(
        _section_text(_Section(repr((key, value)), allow_unicode, {key: value})) for key, value in tree.items()
    )


@dataclass(frozen=True)
class _Section:
    """A section, which is known by its `shown` form: of a run's two configs, and of a sweep's jobs, most are equal."""

    shown: str
    allow_unicode: bool
    tree: Any = field(compare=False)


@functools.lru_cache(256)
def _section_text(section: _Section) -> str:
    """Return a section as YAML."""
    return _dumped_whole(section.tree, section.allow_unicode)


def _dumped_whole(tree: Any, allow_unicode: bool) -> str:
    how = {"sort_keys": False, "allow_unicode": allow_unicode, "default_flow_style": False}
    return yaml.dump(tree, Dumper=get_omega_conf_dumper(), **how)


def read_saved_sections(path: Path) -> dict[str, Any]:
    """Return the sections of a config.yaml that a run saved, by name, much faster than `read_yaml` reads many of them.

    Equal sections of several files are parsed once. Raises FileNotFoundError, or ConfigError where the file is not of
    this kind.
    """
    try:
        check_is_file(path)
        with path.open("rb") as file:
            content = file.read(_MOST_SAVED_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_SAVED_BYTES:
        raise ConfigError(f"{path} has more than {_MOST_SAVED_BYTES:,} bytes")
    found: dict[str, Any] = {}
    for section in _SECTION_STARTS.split(text):
        try:
            value = _parsed(section)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise ConfigError(f"{path} is not YAML as nnrun writes it") from error
        if not isinstance(value, dict | None) or not all(isinstance(key, str) for key in value or ()):
            raise ConfigError(f"{path} is not YAML as nnrun writes it")
        found |= value or {}
    return found


@functools.lru_cache(maxsize=4096)
def _parsed(section: str) -> Any:
    """Return the value of a section's text; the writer uses no anchors, whose copies could fill the memory."""
    if _ANCHOR.search(section):
        raise ValueError("it has anchors")
    return _loaded(section, getattr(yaml, "CSafeLoader", yaml.SafeLoader))

"""What `nnrun --help` prints: the commands, and every group with its options, read from the YAML files themselves."""

from __future__ import annotations

import shutil
import sys
import textwrap

from nnrun.base.errors import NnrunError
from nnrun.config.folders import GROUPS, conf_dir, description, option_file, options, own_folders
from nnrun.tasks.table import collect_tasks

_TITLE = "nnrun: from YAML to a trained, proven, deployable network"
_FLAGS = """\
Flags: -m/--multirun, --config-dir DIR (your own groups; ./conf is found by
itself), --cfg job (print the config), -sc install=bash (completion),
--hydra-help, --version. NNRUN_DEBUG=1 shows tracebacks. hydra.run.dir=DIR and
hydra.sweep.dir=DIR choose where results go. Paths need no quoting.

Groups and their options (the default is marked with *):"""
# The width of a command, and of what it does.
_COMMAND_WIDTH, _DOES_WIDTH = 42, 36
# A description takes no more than that, and no more than the terminal's line has room for.
_DESCRIPTION_WIDTH = 96
_LEAST_WIDTH = 24
# Where no terminal says how wide it is.
_COLUMNS = 120


def help_text() -> str:
    """Return the help; options of the user's own folder are in it too."""
    lines = [_TITLE, "", *_commands(), "", _FLAGS]
    try:
        own = own_folders(_config_dir())
    except NnrunError as error:
        lines.insert(0, f"({error})\n")
        own = []
    defaults = _defaults()
    columns = shutil.get_terminal_size((_COLUMNS, 0)).columns
    for group in GROUPS:
        lines.append(f"\n{group}")
        names = options(group, own)
        width = max(map(len, names), default=0)
        room = min(max(columns - width - len("  *   "), _LEAST_WIDTH), _DESCRIPTION_WIDTH)
        for name in names:
            path = option_file(group, name, own)
            text = description(path) if path else ""
            if len(text) > room:
                text = text[: room - 3].rstrip() + "..."
            lines.append(f"  {'*' if defaults.get(group) == name else ' '} {name:<{width}}  {text}")
    lines.append("\nSettings (each with its default):")
    for path in (
        conf_dir() / "config.yaml",
        conf_dir() / "data" / "_base.yaml",
        conf_dir() / "trainer" / "default.yaml",
        conf_dir() / "transfer" / "default.yaml",
    ):
        prefix = "" if path.stem == "config" else f"{path.parent.name}."
        lines += [f"  {prefix}{key}={value or 'null'}" for key, value in _settings_in(path.read_text(encoding="utf-8"))]
    return "\n".join(lines) + "\n"


def _commands() -> list[str]:
    """Return the commands of every task, each with what it does, as its record says them."""
    lines = []
    for command, does in (row for task in collect_tasks() for row in task.help):
        first, *more = textwrap.wrap(does, _DOES_WIDTH)
        lines.append(f"  {command:<{_COMMAND_WIDTH - 1}} {first}")
        lines += [" " * (_COMMAND_WIDTH + 2) + line for line in more]
    return lines


def _config_dir() -> str | None:
    """Return the folder that --config-dir names, in any of its spellings."""
    words = sys.argv[1:]
    for index, word in enumerate(words):
        if word in ("--config-dir", "-cd") and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--config-dir="):
            return word.partition("=")[2]
    return None


def _defaults() -> dict[str, str]:
    """Return the default option of each group, from the defaults list of config.yaml."""
    found = {}
    for line in (conf_dir() / "config.yaml").read_text(encoding="utf-8").splitlines():
        group, colon, option = line.strip().removeprefix("- ").partition(": ")
        if line.startswith("  - ") and colon:
            found[group] = option
    return found


def _settings_in(text: str) -> list[tuple[str, str]]:
    """Return the settings of a YAML file that have a value on their line, those of a section below it by full key."""
    pairs, section = [], ""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon or line.lstrip().startswith(("#", "-")):
            continue
        if not line.startswith(" "):
            section = key
        name = f"{section}.{key.strip()}" if line.startswith(" ") else key
        if value.strip() and section not in ("defaults", "hydra"):
            pairs.append((name, value.strip()))
    return pairs

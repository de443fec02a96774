"""Read the YAML files of options for display: each setting with its default, its comment and its line.

They are read line by line: importing a YAML reader takes too long for `nnrun --help`, and it drops comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nnrun.config.folders import GROUPS, conf_dir, option_file

# `key: value`, with its indentation.
_SETTING = re.compile(r"""( *)(?:"([^"]+)"|'([^']+)'|([^\s#'"\[{-][^:#]*?))\s*:(?:\s+(.*))?$""")
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")
# A comment after a value; `#` within a string has no space before it, or is in quotes.
_BEHIND = re.compile(r"""^((?:"[^"]*"|'[^']*'|[^"'#]|(?<!\s)#)*?)\s+#\s*(.*)$""")
# In the head of a file, an example is indented.
_EXAMPLE = "#   "
# The group whose options set the settings of others.
EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Setting:
    """A setting in a file: its full key, its default as written, its comment, its path and its line, from 1.

    A section has no default.
    """

    key: str
    default: str
    comment: str
    path: Path
    line: int
    is_section: bool = False

    @property
    def place(self) -> str:
        """Its file and line for display: a file of ours from `conf` on."""
        return place_of(self.path, self.line)


@dataclass(frozen=True)
class OptionFile:
    """An option's file: its description, the options that it builds on or chooses, and its settings."""

    path: Path
    description: str
    examples: tuple[str, ...]
    # The options of its own group that it builds on, and those that it chooses for other groups.
    bases: tuple[str, ...]
    chooses: tuple[Setting, ...]
    settings: tuple[Setting, ...]


def place_of(path: Path, line: int | None = None) -> str:
    """Return a file and a line of it for display: a file of ours from `conf` on, others from the current directory."""
    shown = path
    for base in (conf_dir().parent, Path.cwd()):
        if path.is_relative_to(base):
            shown = path.relative_to(base)
            break
    return f"{shown}" + (f", line {line}" if line else "")


def read_option_file(path: Path, group: str) -> OptionFile:
    """Read the file of an option of a group ('' for config.yaml); invalid YAML is read as far as possible.

    Mistakes in a file are reported when it is composed.
    """
    lines: list[str] = []
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    head, first = _head(lines)
    package = next((found[1] for line in head if (found := _PACKAGE.match(line))), group)
    prefix = "" if package in ("_global_", "") else f"{package}."
    said = [line for line in head if not _PACKAGE.match(line)]
    settings, bases, chooses = [], [], []
    for setting in _settings(lines, first, path):
        top, _, name = setting.key.partition(".")
        if top != "defaults":
            settings.append(replace(setting, key=prefix + setting.key))
        elif "/" in name or name in GROUPS:
            chooses.append(replace(setting, key=name.rpartition("/")[2] if name.count("/") < 2 else name))
        elif name and name != "_self_":
            bases.append(name)
    return OptionFile(
        path,
        " ".join(line[2:].strip() for line in said if line.startswith("# ") and not line.startswith(_EXAMPLE)),
        tuple(line[len(_EXAMPLE) :].strip() for line in said if line.startswith(_EXAMPLE)),
        tuple(bases),
        tuple(chooses),
        tuple(settings),
    )


def option_settings(group: str, option: str, own: Sequence[Path]) -> list[Setting]:
    """Return all settings of an option, those of the options that it builds on first; its own take precedence."""
    return list(_merged(group, option, own, frozenset()).values())


def chosen_settings(choices: Mapping[str, Sequence[str]], own: Sequence[Path]) -> dict[str, Setting]:
    """Return the settings of all chosen options by full key; those of an experiment take precedence."""
    found: dict[str, Setting] = {}
    for group in sorted(choices, key=lambda group: group == EXPERIMENT):
        for option in choices[group]:
            found |= {setting.key: setting for setting in option_settings(group, option, own)}
    return found


def setting_of(key: str, choices: Mapping[str, Sequence[str]], own: Sequence[Path]) -> Setting | None:
    """Return what the chosen options set a key to; None if none of them does.

    Of our options that are not experiments, each sets only what is in its own group: the others are not read.
    """
    group, ours = key.partition(".")[0], conf_dir()

    def may_set(other: str, option: str) -> bool:
        path = option_file(other, option, own)
        return other in (group, EXPERIMENT) or (path is not None and not path.is_relative_to(ours))

    read = {other: [it for it in options if may_set(other, it)] for other, options in choices.items()}
    return chosen_settings(read, own).get(key)


def is_shipped_default(setting: Setting) -> bool:
    """Return whether a setting is in an option of ours that is not an experiment: the user did not ask for it."""
    ours = conf_dir()
    return setting.path.is_relative_to(ours) and not setting.path.is_relative_to(ours / EXPERIMENT)


def _merged(group: str, option: str, own: Sequence[Path], seen: frozenset[str]) -> dict[str, Setting]:
    """Return the settings of an option by key; options that build on each other are read once."""
    path = option_file(group, option, own)
    if path is None or option in seen:
        return {}
    file = read_option_file(path, group)
    found: dict[str, Setting] = {}
    for base in file.bases:
        found |= _merged(group, base, own, seen | {option})
    for setting in file.settings:
        before = found.get(setting.key)
        # The first file describes the setting; an option may add why its default differs.
        comments = dict.fromkeys([before.comment if before else "", setting.comment])
        found[setting.key] = replace(setting, comment="; ".join(filter(None, comments)))
    return found


def _head(lines: Sequence[str]) -> tuple[list[str], int]:
    """Return the comment at the head of a file, and the number of its lines.

    It ends with its last example: further lines without an empty line between describe the first setting.
    """
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    examples = [number for number in range(end) if lines[number].startswith(_EXAMPLE)]
    # Other lines between the examples belong to the head; those after the last example describe the first setting.
    if examples and end < len(lines) and lines[end].strip():
        end = examples[-1] + 1
    return list(lines[:end]), end


def _settings(lines: Sequence[str], first: int, path: Path) -> Iterator[Setting]:
    """Yield every setting and section, with keys from the file's own top; `defaults.NAME` is a line of that list."""
    above: list[tuple[int, str]] = []
    comment: list[str] = []
    block = -1
    for number, line in enumerate(lines[first:], first + 1):
        text, indent = line.strip(), len(line) - len(line.lstrip(" "))
        if 0 <= block < indent:
            continue  # within a multi-line string
        block = -1
        if text.startswith("#"):
            comment.append(text[1:].strip())
            continue
        if not text:
            comment = []
            continue
        entry = text.startswith("- ")
        found = _SETTING.match(" " * (indent + 2) + text[2:]) if entry else _SETTING.match(line)
        while above and above[-1][0] >= indent + 2 * entry:
            above.pop()
        in_defaults = bool(above) and above[0][1] == "defaults"
        if entry and in_defaults:
            yield from _entry(text[2:], " ".join(comment), path, number)
        elif found and not entry and not in_defaults:
            value, behind = _without_comment(found[5] or "")
            above.append((indent, found[2] or found[3] or found[4]))
            key = ".".join(name for _, name in above)
            if key == "defaults":
                for item in value.strip("[]").split(",") if value else ():
                    yield from _entry(item.strip(), "", path, number)
            else:
                is_section = not value and _goes_deeper(lines[number:], indent)
                yield Setting(
                    key, value or ("" if is_section else "null"), " ".join([*comment, behind] if behind else comment),
                    path, number, is_section,
                )  # fmt: skip
            block = indent if value[:1] in ("|", ">") else -1
        comment = []


def _entry(text: str, comment: str, path: Path, line: int) -> Iterator[Setting]:
    """Yield a line of a defaults list: `defaults.GROUP` with its option, or `defaults.OPTION` of the file's group."""
    name, _, option = (part.strip() for part in _without_comment(text)[0].partition(":"))
    for word in ("override ", "optional "):
        name = name.removeprefix(word).strip()
    if name:
        yield Setting(f"defaults.{name}", option, comment, path, line)


def _without_comment(value: str) -> tuple[str, str]:
    """Return a value and the comment after it."""
    found = _BEHIND.match(f" {value}")
    return (found[1].strip(), found[2]) if found else (value.strip(), "")


def _goes_deeper(lines: Sequence[str], indent: int) -> bool:
    """Return whether the next line with content is indented further."""
    following = next((line for line in lines if line.strip() and not line.strip().startswith("#")), "")
    return len(following) - len(following.lstrip(" ")) > indent

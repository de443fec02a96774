"""The text of `nnrun --help`: commands, groups, options and settings, read from the YAML files and the checks."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnrun.base.errors import ConfigError, NnrunError
from nnrun.base.paragraphs import LEAST, paragraph, row, terminal_columns
from nnrun.config.catalogue import Catalogue
from nnrun.config.flags import is_switched_on, is_unknown_flag, take_config_dir
from nnrun.config.folders import GROUPS, description, note_on_conf, option_file, own_folders
from nnrun.config.option_files import Setting, place_of, read_option_file
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.tree import is_within
from nnrun.tasks.table import collect_tasks

_TITLE = "nnrun: one command from YAML to a trained, verified, deployable network"
_MORE = (
    ("nnrun --help trainer", "the options and settings of a group"),
    ("nnrun --help model=cnn", "an option"),
    ("nnrun --help data.batch_size", "a setting: its default, its allowed values, and the options that have it"),
    ("nnrun --explain trainer.epochs ...", "which file or argument sets a value"),
    ("nnrun --cfg job ...", "print the config of the command"),
)
_FLAGS = (
    "Flags: -m/--multirun (sweep), --config-dir DIR (your own options; ./conf is used by default), --no-conf (ignore "
    "./conf), --json (print only the summary, as JSON), -q/--quiet (print only errors and the run's directory), "
    "--cfg job (print the config), -sc install=bash (completion), --hydra-help, --version. NNRUN_DEBUG=1 shows "
    "tracebacks. hydra.run.dir=DIR and hydra.sweep.dir=DIR set the output directory. Paths need no quoting."
)
# The width of a command, and of a setting with its default, and the least room for a description beside it; one with
# less room goes below.
_COMMAND, _SETTING = (42, 34), (38, 60)
# The maximum width of a description; a narrower terminal shortens it further.
_DESCRIPTION_WIDTH = 96


def help_text(words: Sequence[str] = ()) -> str:
    """Return the help on the topics named, or on everything, with the options of the user's own folder.

    Raises ConfigError for an unknown topic or flag.
    """
    if wrong := _unknown_flags(words):
        raise ConfigError(*wrong)
    config_dir, others = take_config_dir(words)
    topics = [word.lstrip("+~") for word in others if not word.startswith("-")]
    is_searched = not is_switched_on("leaves_conf_out", words)
    lines: list[str] = []
    try:
        own = own_folders(config_dir, is_searched=is_searched)
    except NnrunError as error:
        lines, own = [f"({error})", ""], []
    if config_dir is None and is_searched and (note := note_on_conf()):
        lines += [f"({note})", ""]
    catalogue = Catalogue(tuple(own))
    columns = terminal_columns()
    if not topics:
        lines += _overview(catalogue, columns)
    problems: list[str] = []
    for topic in topics:
        try:
            lines += [*_page(topic, catalogue, columns), ""]
        except ConfigError as error:
            problems += error.messages
    if problems:
        raise ConfigError(*problems)
    return "\n".join(lines).rstrip("\n") + "\n"


def _unknown_flags(words: Sequence[str]) -> list[str]:
    """Return the mistakes in the flags among the words."""
    unknown = [place for place, word in enumerate(words) if is_unknown_flag(word)]
    if not unknown:
        return []
    from nnrun.config.command_line import not_a_flag  # noqa: PLC0415 - only where something is wrong

    return [not_a_flag(words[place], words[place + 1 :]) for place in unknown]


def _overview(catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield the help on everything: commands, groups with their options, settings with their defaults."""
    yield from (*paragraph(_TITLE, columns), "")
    for command, does in (*(line for task in collect_tasks() for line in task.help), *_MORE):
        yield from row(command, does, _COMMAND, min(columns, 80))
    yield from ("", *paragraph(_FLAGS, columns), "")
    yield from paragraph("Groups and their options (the default is marked with *):", columns)
    for group in GROUPS:
        yield from ("", group, *_options(group, catalogue, columns))
    yield from ("", *paragraph("Settings, with their defaults in a plain `nnrun`:", columns), "")
    yield from _settings(catalogue.defaults.values(), columns)


def _options(group: str, catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield a line for each option of a group."""
    names = catalogue.options(group)
    width = max(map(len, names), default=0)
    room = min(max(columns - width - len("  *   "), LEAST), _DESCRIPTION_WIDTH)
    for name in names:
        path = option_file(group, name, catalogue.own)
        text = description(path) if path else ""
        text = textwrap.shorten(text, room, placeholder="...")
        yield f"  {'*' if catalogue.groups[group].default == name else ' '} {name:<{width}}  {text}".rstrip()


def _settings(settings: Iterable[Setting], columns: int) -> Iterator[str]:
    """Yield each setting with its default and its description."""
    for setting in settings:
        if not setting.is_section:
            yield from row(f"{setting.key}={setting.default}", _said(setting), _SETTING, columns)


def _said(setting: Setting) -> str:
    """Return the description of a setting; without one, the setting that its value follows."""
    followed = setting.default.removeprefix("${").removesuffix("}")
    if setting.comment or len(followed) == len(setting.default) or ":" in followed:
        return setting.comment
    return f"follows {followed}"


def _command(text: str, columns: int) -> Iterator[str]:
    """Yield a command, continued with backslashes where the line is too narrow; a remark after it goes below."""
    command, _, remark = text.partition("   ")
    if len(text) + 2 <= columns:
        yield f"  {text}"
        return
    lines = paragraph(command, columns - 2, "  ", "      ")
    yield from (f"{line} \\" for line in lines[:-1])
    yield lines[-1]
    yield from paragraph(remark.strip(), columns, "      ")


def _page(topic: str, catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield the help on a group, an option, a section or a setting; raise ConfigError for an unknown topic."""
    key, equals, value = topic.partition("=")
    named = key.partition(".")[0]
    if key in GROUPS and not equals:
        yield from _group_page(key, catalogue, columns)
    elif key in GROUPS:
        for option in value.strip("[]").split(","):
            yield from _option_page(key, option.strip(), catalogue, columns)
    elif named in NAMED_SECTIONS and key.count(".") == 1 and key.partition(".")[2] in catalogue.options(named):
        yield from _option_page(named, key.partition(".")[2], catalogue, columns)
    elif (setting := catalogue.find(key)) is not None and not setting.is_section:
        yield from _setting_page(setting, catalogue, columns)
        yield from _tasks_page(value, key, columns)
    elif key in [task.name for task in collect_tasks()] and key not in catalogue.every:
        yield from _tasks_page(key, "task", columns)
    elif rows := _rows_of_options(key, catalogue):
        yield from paragraph(f"{key}: its settings depend on {named}=", columns)
        for settings, options in rows.items():
            yield from ("", *paragraph(f"{_chosen(named, options)}:", columns))
            yield from _settings(settings, columns)
    elif below := [it for name, it in catalogue.every.items() if is_within(name, key)]:
        yield from (*paragraph(key if below[0].key != key else f"{key}: {below[0].comment}", columns), "")
        yield from _settings(below, columns)
    else:
        from nnrun.config.meant import hint_for_name  # noqa: PLC0415 - only where something is wrong

        known = [*GROUPS, *catalogue.every]
        hint = hint_for_name(key, known) or "nnrun --help lists them"
        raise ConfigError(f"{topic} is not a group, an option or a setting; {hint}")


def _group_page(group: str, catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield the help on a group: its options, and the settings of the default one."""
    chosen = catalogue.groups[group].default
    yield from (*paragraph(f"{group}: {catalogue.groups[group].comment}", columns), "")
    yield from paragraph(f"Options (nnrun {group}=OPTION; the default is marked with *):", columns)
    yield from _options(group, catalogue, columns)
    settings = catalogue.settings(group, chosen)
    if settings:
        became = catalogue.becomes(group, chosen)
        means = f", which is {group}={became} in a plain `nnrun`" if became != chosen else ""
        yield from ("", *paragraph(f"Settings of {group}={chosen}{means}, with their defaults:", columns))
        yield from _settings(settings, columns)
    others = [name for name in catalogue.options(group) if name != chosen and catalogue.settings(group, name)]
    if others:
        more = ", ".join(f"{group}={name}" for name in others)
        yield from (
            "",
            *paragraph(f"Other options with settings (nnrun --help {group}=OPTION): {more}", columns),
        )


def _option_page(group: str, option: str, catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield the help on an option: its description, its examples and its settings."""
    path = option_file(group, option, catalogue.own)
    if path is None or option not in catalogue.options(group):
        from nnrun.config.meant import hint_for_option  # noqa: PLC0415 - only where something is wrong

        names = catalogue.options(group)
        hint = hint_for_option(group, option, names)
        raise ConfigError(f"{group}={option} is not an option; {hint}{' ' * bool(hint)}available: {', '.join(names)}")
    file = read_option_file(path, group)
    yield from paragraph(f"{group}={option}: {file.description}", columns)
    for example in file.examples:
        yield from _command(example, columns)
    yield f"  ({place_of(path)})"
    for chosen in file.chooses:
        yield f"  chooses {chosen.key}={chosen.default}"
    became = catalogue.becomes(group, option)
    rows = file.settings if group == "experiment" else catalogue.settings(group, option)
    if rows:
        means = f" ({group}={became} in a plain `nnrun`)" if became != option else ""
        yield from ("", f"Sets{means}:" if group == "experiment" else f"Settings{means}, with their defaults:")
        yield from _settings(rows, columns)
    elif group != "experiment":
        yield "  It has no settings."


def _rows_of_options(key: str, catalogue: Catalogue) -> dict[tuple[Setting, ...], list[str]]:
    """Return the settings within a section that each option of its group has, with those options.

    Empty for a section that all of them share.
    """
    group = key.partition(".")[0]
    found: dict[tuple[Setting, ...], list[str]] = {}
    alike: dict[tuple[tuple[str, str, str], ...], tuple[Setting, ...]] = {}
    for option in catalogue.options(group) if group in GROUPS and group not in NAMED_SECTIONS else ():
        own = catalogue.becomes(group, option) == option
        rows = tuple(it for it in catalogue.settings(group, option) if own and is_within(it.key, key))
        if rows:
            rows = alike.setdefault(tuple((it.key, it.default, it.comment) for it in rows), rows)
            found.setdefault(rows, []).append(option)
    return found if len(found) > 1 else {}


def _chosen(group: str, options: Iterable[str]) -> str:
    """Return the words that choose some options of a group."""
    return ", ".join(f"{group}={option}" for option in options)


def _setting_page(setting: Setting, catalogue: Catalogue, columns: int) -> Iterator[str]:
    """Yield the help on a setting: its default, description, allowed values, and the options that have it."""
    from nnrun.config.values import allowed_in_words  # noqa: PLC0415 - the overview does not need the checks
    from nnrun.tasks.rules import collect_rules  # noqa: PLC0415

    holders = list(catalogue.having(setting.key))
    is_plain = setting.key in catalogue.defaults or not holders
    is_one = is_plain or len({_said(held) for _, held in holders}) == 1
    yield f"{setting.key}={setting.default}"
    yield from paragraph(_said(setting) if is_one else "", columns, "  ")
    if allowed := allowed_in_words(setting, collect_rules()):
        yield from paragraph(f"allowed: {allowed}", columns, "  ")
    group = setting.key.partition(".")[0]
    of_default = catalogue.becomes(group, catalogue.groups[group].default) if group in GROUPS else ""
    if not is_plain:
        choices = " or ".join(f"{group}={name}" for name, _ in holders)
        yield from paragraph(f"not in a plain `nnrun`: choose {choices}", columns, "  ")
    # The name may mean something else in another option.
    by_default: dict[tuple[str, str], list[str]] = {}
    for name, held in holders:
        by_default.setdefault((held.default, "" if is_one else f": {_said(held)}"), []).append(name)
    if group in NAMED_SECTIONS or not holders:
        pass
    elif len(by_default) == 1 and len(holders) > 1:
        yield from paragraph(f"in {_chosen(group, (name for name, _ in holders))}", columns, "  ")
    else:
        for (default, said), names in by_default.items():
            listed = _chosen(group, (f"{name}{' (here)' if name == of_default else ''}" for name in names))
            yield from paragraph(f"{default} in {listed}{said}", columns, "  ")
    if is_one:
        yield f"  ({setting.place})"


def _tasks_page(name: str, key: str, columns: int) -> Iterator[str]:
    """Yield the commands of the task of a name; without a name, of all tasks."""
    for task in (task for task in collect_tasks() if key == "task" and name in ("", task.name)):
        for command, does in task.help:
            yield from row(command, does, _COMMAND, min(columns, 80))
        if name and task.help_adds:
            yield from paragraph(task.help_adds, columns, "  ")


def completion_text(words: Sequence[str]) -> str | None:
    """Return the answer to a shell's completion request; None where Hydra answers (other shells' scripts)."""
    from nnrun.config.completion import BASH, BASH_UNDO, completed  # noqa: PLC0415 - the help is faster without
    from nnrun.tasks.rules import collect_rules  # noqa: PLC0415

    asked = next((word for word in words if word.startswith(("install=", "uninstall=", "query="))), "")
    verb, _, shell = asked.partition("=")
    if verb == "query" and "COMP_LINE" in os.environ:
        line, point = os.environ["COMP_LINE"], os.environ.get("COMP_POINT", "")
        found = completed(line[: int(point)] if point.isdecimal() else line, collect_rules())
        return "".join(f"{word}\n" for word in found)
    if shell in ("bash", "zsh") and verb != "query":
        program = Path(sys.argv[0]).name
        script = BASH if verb == "install" else BASH_UNDO
        return script.format(program="nnrun" if program.endswith(".py") else program)
    return None

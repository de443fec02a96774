"""Generate docs/settings.md from conf/ and the checks: `make settings` writes it, and a test compares it with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import conf_dir, option_file
from nnrun.config.option_files import Setting, read_option_file
from nnrun.config.values import allowed_in_words
from nnrun.tasks.rules import collect_rules

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """\
# All settings

Generated from `conf/` by `make settings`. `nnrun --help GROUP`, `nnrun --help GROUP=OPTION` and `nnrun --help SETTING`
show the same in a terminal, including your own options ([configuration.md](configuration.md)).
Defaults are those of a plain `nnrun`; `${...}` is the value of another setting.
"""
COLUMNS = "| setting | default | what it does | allowed |\n|---|---|---|---|"


def page() -> str:
    """The whole page."""
    catalogue = Catalogue()
    parts = [HEAD, "## General\n", *table(catalogue.general)]
    for group, chosen in catalogue.groups.items():
        parts.append(
            f"\n## {group}\n\n{cell(chosen.comment).capitalize()}. The default is `{group}={chosen.default}`.\n"
        )
        parts += of_group(group, catalogue)
    return "\n".join(parts).rstrip("\n") + "\n"


def of_group(group: str, catalogue: Catalogue) -> Iterator[str]:
    """The options of a group, the settings that they share, and the further ones of each."""
    yield "| option | what it is |\n|---|---|"
    names = catalogue.options(group)
    for name in names:
        path = option_file(group, name, ())
        assert path is not None
        yield f"| `{group}={name}` | {cell(read_option_file(path, group).description)} |"
    chosen = [name for name in names if catalogue.becomes(group, name) == name and group != "experiment"]
    sets = {name: rows for name in chosen if (rows := whole(group, name, catalogue))}
    first = next(iter(sets.values()), {})
    shared = [key for key in first if len(sets) > 1 and all(key in rows for rows in sets.values())]
    if shared:
        yield f"\nSettings that the options of `{group}` share:\n"
        yield COLUMNS
        for key in shared:
            yield line(first[key], defaults({name: rows[key] for name, rows in sets.items()}))
    for name, rows in sets.items():
        own = [setting for key, setting in rows.items() if key not in shared]
        if own:
            yield f"\n{'Further settings' if shared else 'Settings'} of `{group}={name}`:\n"
            yield from table(own)


def whole(group: str, name: str, catalogue: Catalogue) -> dict[str, Setting]:
    """The settings of an option by key, in its order."""
    return {setting.key: setting for setting in catalogue.settings(group, name) if not setting.is_section}


def defaults(settings: dict[str, Setting]) -> str:
    """The defaults that options of a group have for one setting; the most common one first, without their names."""
    by_default: dict[str, list[str]] = {}
    for name, setting in settings.items():
        by_default.setdefault(setting.default, []).append(name)
    if len(by_default) > 5:
        return "depends on the option"
    common, *others = sorted(by_default, key=lambda default: -len(by_default[default]))
    rest = [f"`{default}` ({', '.join(by_default[default])})" for default in others]
    return f"`{common}`" + (f"; {', '.join(rest)}" if rest else "")


def table(settings: Sequence[Setting]) -> Iterator[str]:
    """Settings in a table; the comment of a section is in a row where it begins."""
    yield COLUMNS
    for setting in settings:
        if setting.is_section:
            yield f"| **`{setting.key}`** | | {cell(setting.comment)} | |" if setting.comment else ""
        else:
            yield line(setting, f"`{setting.default}`")


def line(setting: Setting, default: str) -> str:
    """A row of a table."""
    follows = setting.default.startswith("${") and not setting.comment
    said = f"follows `{setting.default[2:-1]}`" if follows else setting.comment
    return f"| `{setting.key}` | {cell(default)} | {cell(said)} | {cell(allowed_in_words(setting, collect_rules()))} |"


def cell(text: str) -> str:
    """A text within a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(conf_dir().parent)}")

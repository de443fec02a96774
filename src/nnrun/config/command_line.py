"""The words of a command line, sorted into flags, words for Hydra, and overrides of the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.base.errors import ConfigError, did_you_mean
from nnrun.config.flags import FLAGS, HYDRA_CHOICES, HYDRA_MODIFIERS, HYDRA_VERBS, NEEDING_A_WORD, SWITCHES
from nnrun.config.folders import note_on_conf, own_folders
from nnrun.config.meant import hint_by_meaning


@dataclass
class CommandLine:
    """The words of a command line, sorted."""

    overrides: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)
    config_dir: str | None = None
    is_sweep: bool = False
    is_hydra_verb: bool = False
    prints_json: bool = False
    is_quiet: bool = False
    leaves_conf_out: bool = False
    explained: list[str] = field(default_factory=list)

    @property
    def own(self) -> list[Path]:
        """The user's config folders; raise ConfigError where they cannot be used."""
        return own_folders(self.config_dir, is_searched=not self.leaves_conf_out)

    @property
    def note(self) -> str | None:
        """The note about a ./conf that exists and is not used."""
        return None if self.config_dir or self.leaves_conf_out else note_on_conf()


def sort_words(words: Sequence[str]) -> CommandLine:
    """Sort the words of a command line; raise ConfigError naming every unknown flag."""
    line = CommandLine()
    problems = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag = word.partition("=")[0]
        if not word.startswith("-"):
            line.overrides.append(word)
        elif word in SWITCHES:
            setattr(line, SWITCHES[word], True)
        elif word in ("-r", "--run"):
            line.is_sweep = False
        elif flag in NEEDING_A_WORD:
            problems += _take_word(line, word, rest)
        elif flag in HYDRA_VERBS or flag in HYDRA_MODIFIERS:
            problems += _take_hydra(line, word, rest)
        else:
            problems.append(not_a_flag(word, rest))
    if line.config_dir and line.leaves_conf_out:
        problems.append(
            "--config-dir and --no-conf exclude each other: --config-dir is already used in place of ./conf"
        )
    if line.explained and line.prints_json:
        problems.append("--json has no effect with --explain, which prints a table")
    if line.explained and line.is_sweep:
        problems.append("--explain explains a single run; remove -m")
    if line.hydra and not line.is_hydra_verb:
        problems.append(f"{line.hydra[0]} has an effect only with --cfg")
    if problems:
        raise ConfigError(*problems)
    return line


def _take_word(line: CommandLine, word: str, rest: list[str]) -> list[str]:
    """Set the value of a flag that takes one: after `=`, or the first of `rest`; return the mistakes."""
    flag, equals, value = word.partition("=")
    if not equals and not rest:
        return [f"{flag} needs {NEEDING_A_WORD[flag]}"]
    value = value if equals else rest.pop(0)
    if flag == "--explain":
        line.explained.append(value)
        if "=" in value:  # --explain KEY=VALUE: also a word of the command that is explained
            line.overrides.append(value)
    else:
        line.config_dir = value
    return []


def not_a_flag(word: str, rest: Sequence[str]) -> str:
    """Return the message for an unknown flag; for a setting, how to write it; `rest` are the next words."""
    flag, equals, value = word.partition("=")
    follows = rest[0] if rest and not equals and "=" not in rest[0] and not rest[0].startswith("-") else "..."
    if meant := hint_by_meaning(flag, value if equals else follows):
        return f"{word} is not a flag: settings have no dashes; {meant}"
    if near := did_you_mean(flag, FLAGS):
        return f"{word} is not a flag; {near}"
    return f"{word} is not a flag; flags are {', '.join(FLAGS)}"


def _take_hydra(line: CommandLine, word: str, rest: list[str]) -> list[str]:
    """Add a flag of Hydra's and the word that it takes, the first of `rest`; return the mistakes."""
    flag, equals, value = word.partition("=")
    line.is_hydra_verb = line.is_hydra_verb or flag in HYDRA_VERBS
    line.hydra.append(word)
    if (HYDRA_VERBS | HYDRA_MODIFIERS)[flag] and not equals:
        value = rest.pop(0) if rest else ""
        line.hydra.append(value)
    choices = HYDRA_CHOICES.get(flag, (value,))
    return [] if value in choices else [f"{flag} takes {', '.join(choices)}"]

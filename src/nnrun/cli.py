"""The command line: flags, runs and sweeps, errors to exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.base.errors import BUG, ConfigError, InterruptedRun, NnrunError, ResourceError, complain, did_you_mean
from nnrun.base.foreign_errors import of_the_system
from nnrun.base.foreign_messages import guard_libraries, show_traceback
from nnrun.base.secrets import hide_known, redact, secrets_in_words
from nnrun.base.visible import visible_lines
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.folders import conf_dir, find_modules_beside, own_folders
from nnrun.config.yaml_files import yaml_text
from nnrun.tasks.rules import collect_rules
from nnrun.tasks.table import perform

# Hydra's own verbs, which print and run nothing, and how many words each takes.
_HYDRA_VERBS = {"--cfg": 1, "-c": 1, "--info": 1, "-i": 1, "--shell-completion": 0, "-sc": 0, "--hydra-help": 0}
_HYDRA_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_HYDRA_MODIFIERS = {"--resolve": 0, "--package": 1, "-p": 1}
_FLAGS = ("--multirun", "--config-dir", "--help", "--version", "--run", *_HYDRA_VERBS, *_HYDRA_MODIFIERS)


@dataclass
class CommandLine:
    """The words of a command line, sorted."""

    overrides: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)
    config_dir: str | None = None
    is_sweep: bool = False
    is_hydra_verb: bool = False


def main(words: Sequence[str]) -> int:
    """Do what the words of a command line ask for; return the exit code."""
    guard_libraries()
    return exit_code_of(lambda: dispatch(words), secrets_in_words(words))


def exit_code_of(action: Callable[[], int], secrets: Collection[str] = ()) -> int:
    """Return what an action returns, or the code of the error that it ends with, after saying it on stderr.

    `secrets` are not said.
    """
    try:
        return action()
    except NnrunError as error:
        if os.environ.get("NNRUN_DEBUG") == "1":
            show_traceback()
        complain([hide_known(message, secrets) for message in error.messages] or [type(error).__name__])
        return error.exit_code
    except InterruptedRun as interruption:
        complain(interruption.messages or ("interrupted",))
        return interruption.exit_code
    except KeyboardInterrupt:
        complain(("interrupted",))
        return 130
    except BrokenPipeError:
        # Nobody reads any more; what is left in the buffer must not raise again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ResourceError.exit_code
    except Exception as error:
        machine = of_the_system(error)
        if machine is None or os.environ.get("NNRUN_DEBUG") == "1":
            show_traceback()
        said = hide_known(f"this is a bug in nnrun: {type(error).__name__}: {error}", secrets)
        complain(machine.messages if machine else (said,))
        return machine.exit_code if machine else BUG


def dispatch(words: Sequence[str]) -> int:
    """Run, sweep, or hand over to Hydra."""
    line = sort_words(words)
    if line.is_hydra_verb:
        return hydra_verb(line, own_folders(line.config_dir))
    if line.is_sweep:
        from nnrun.sweeps.sweep import sweep  # noqa: PLC0415 - a run does not need it

        return sweep(line.overrides, own_folders(line.config_dir), collect_rules())
    composed = compose_line(line)
    find_modules_beside(composed.own)
    perform(composed, line.overrides)
    return 0


def compose_line(line: CommandLine) -> Composed:
    """Return the checked config that a command line asks for."""
    return compose(line.overrides, own_folders(line.config_dir))


def compose(words: Sequence[str], own: Sequence[Path] = ()) -> Composed:
    """Return the checked config that the words of a command line ask for; `own` are the user's folders of options."""
    return compose_config(words, own, collect_rules())


def sort_words(words: Sequence[str]) -> CommandLine:
    """Sort the words of a command line; raise ConfigError naming every flag that is not one."""
    line = CommandLine()
    problems = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            line.overrides.append(word)
        elif word in ("-m", "--multirun"):
            line.is_sweep = True
        elif word in ("-r", "--run"):
            line.is_sweep = False
        elif flag in ("--config-dir", "-cd"):
            if not equals and not rest:
                problems.append("--config-dir needs a folder")
            else:
                line.config_dir = value if equals else rest.pop(0)
        elif flag in _HYDRA_VERBS or flag in _HYDRA_MODIFIERS:
            problems += _take_hydra(line, word, rest)
        else:
            hint = did_you_mean(flag, _FLAGS) or f"flags are {', '.join(_FLAGS)}"
            problems.append(f"{word} is not a flag; {hint}")
    if line.hydra and not line.is_hydra_verb:
        problems.append(f"{line.hydra[0]} goes with --cfg")
    if problems:
        raise ConfigError(*problems)
    return line


def _take_hydra(line: CommandLine, word: str, rest: list[str]) -> list[str]:
    """Add a flag of Hydra's and the word that it takes, the first of `rest`; return what is wrong with them."""
    flag, equals, value = word.partition("=")
    line.is_hydra_verb = line.is_hydra_verb or flag in _HYDRA_VERBS
    line.hydra.append(word)
    if (_HYDRA_VERBS | _HYDRA_MODIFIERS)[flag] and not equals:
        value = rest.pop(0) if rest else ""
        line.hydra.append(value)
    choices = _HYDRA_CHOICES.get(flag, (value,))
    return [] if value in choices else [f"{flag} takes {', '.join(choices)}"]


def hydra_verb(line: CommandLine, own: Sequence[Path]) -> int:
    """Print the config that would run; hand over to Hydra for completion, its own help and its own config."""
    is_completion = any(word.startswith(("-sc", "--shell-completion")) for word in line.hydra)
    composed = None if is_completion else compose(line.overrides, own)
    if composed and line.hydra in (["--cfg", "job"], ["-c", "job"], ["--cfg=job"]):
        sys.stdout.write(visible_lines(yaml_text(redact(composed.shown()))))
        return 0
    import hydra  # noqa: PLC0415 - two words of the command line in a thousand

    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in own)}]"] if own else []
    overrides = line.overrides if is_completion else [*line.overrides, *search]
    sys.argv = [sys.argv[0], *line.hydra, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(lambda _: None)()
    return 0

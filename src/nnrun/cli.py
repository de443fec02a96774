"""The command line: flags, runs and sweeps, errors to exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.compose import compose
from nnrun.confdir import conf_dir, own_folders
from nnrun.errors import ConfigError, NnrunError, ResourceError, did_you_mean

BUG = 70
# Hydra's own verbs, which print and run nothing, and how many words each takes.
_HYDRA_VERBS = {"--cfg": 1, "-c": 1, "--info": 1, "-i": 1, "--shell-completion": 0, "-sc": 0, "--hydra-help": 0}
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
    return exit_code_of(lambda: dispatch(words))


def exit_code_of(action: Callable[[], int]) -> int:
    """Return what an action returns, or the code of the error that it ends with, after saying it on stderr."""
    try:
        return action()
    except NnrunError as error:
        if os.environ.get("NNRUN_DEBUG") == "1":
            traceback.print_exc()
        complain(error.messages or (type(error).__name__,))
        return error.exit_code
    except KeyboardInterrupt:
        complain(("interrupted",))
        return 130
    except BrokenPipeError:
        # Nobody reads any more; what is left in the buffer must not raise again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ResourceError.exit_code
    except Exception as error:
        traceback.print_exc()
        complain((f"this is a bug in nnrun, or in code of yours that it runs: {type(error).__name__}: {error}",))
        return BUG


def complain(messages: Sequence[str]) -> None:
    """Write messages to stderr, each as `nnrun: ...`."""
    for message in messages:
        sys.stderr.write(f"nnrun: {message}\n")
    sys.stderr.flush()


def dispatch(words: Sequence[str]) -> int:
    """Run, sweep, or hand over to Hydra."""
    line = sort_words(words)
    own = own_folders(line.config_dir)
    if line.is_hydra_verb:
        return hydra_verb(line, own)
    if line.is_sweep:
        from nnrun.sweep import sweep  # noqa: PLC0415 - a run does not need it

        return sweep(line.overrides, own)
    composed = compose(line.overrides, own)
    # The user's own modules are beside their conf/. Last, so that they hide nothing.
    sys.path.append(str(Path.cwd()))
    from nnrun.run import run  # noqa: PLC0415 - imports torch: not before the config is right

    run(composed, line.overrides)
    return 0


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
            takes = (_HYDRA_VERBS | _HYDRA_MODIFIERS)[flag]
            line.is_hydra_verb = line.is_hydra_verb or flag in _HYDRA_VERBS
            line.hydra.append(word)
            if takes and not equals and rest:
                line.hydra.append(rest.pop(0))
        else:
            hint = did_you_mean(flag, _FLAGS) or f"flags are {', '.join(_FLAGS)}"
            problems.append(f"{word} is not a flag; {hint}")
    if line.hydra and not line.is_hydra_verb:
        problems.append(f"{line.hydra[0]} goes with --cfg")
    if problems:
        raise ConfigError(*problems)
    return line


def hydra_verb(line: CommandLine, own: Sequence[Path]) -> int:
    """Hand over to Hydra for what only prints: the config, completion, its own help."""
    is_completion = any(word.startswith(("-sc", "--shell-completion")) for word in line.hydra)
    if not is_completion:
        compose(line.overrides, own)
    import hydra  # noqa: PLC0415 - two words of the command line in a thousand

    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in own)}]"] if own else []
    overrides = line.overrides if is_completion else [*line.overrides, *search]
    sys.argv = [sys.argv[0], *line.hydra, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(lambda _: None)()
    return 0

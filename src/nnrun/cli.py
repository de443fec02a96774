"""The command line: flags, runs and sweeps, errors to exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import BUG, ConfigError, InterruptedRun, NnrunError, ResourceError, complain, reached_before
from nnrun.base.files import without_nan
from nnrun.base.foreign_errors import of_the_system
from nnrun.base.foreign_messages import guard_libraries, show_traceback
from nnrun.base.invocation import begin, quietly
from nnrun.base.paragraphs import terminal_columns
from nnrun.base.secrets import hide_known, redact, secrets_in_words
from nnrun.base.streams import OutputToStderr, say
from nnrun.base.visible import visible, visible_lines
from nnrun.config.command_line import CommandLine, sort_words
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.flags import is_switched_on
from nnrun.config.folders import conf_dir, find_modules_beside
from nnrun.config.sweep_settings import check_launch_typed
from nnrun.config.yaml_files import yaml_text
from nnrun.tasks.rules import collect_rules
from nnrun.tasks.table import carry_out, command_called, perform

# The schema of the document that --json prints.
DOCUMENT_SCHEMA = 1


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, its result as plain values, and the error messages that were printed."""

    exit_code: int
    reached: Mapping[str, Any] | None = None
    messages: Sequence[str] = ()

    @property
    def directory(self) -> str | None:
        """The directory of a run or a sweep that finished."""
        return (self.reached or {}).get("run") if self.exit_code == 0 else None

    def document(self) -> str:
        """Return the JSON document that --json prints."""
        state = "interrupted" if self.exit_code > BUG else "failed" if self.exit_code else "finished"
        reached = {"state": state, **(self.reached or {})}
        end = {"exit_code": self.exit_code, "reason": "\n".join(self.messages) or None}
        return json.dumps(without_nan({"schema": DOCUMENT_SCHEMA, **reached, **end}), indent=2) + "\n"


def main(words: Sequence[str]) -> int:
    """Carry out a command line; return the exit code."""
    begin()
    is_quiet, prints_json = is_switched_on("is_quiet", words), is_switched_on("prints_json", words)
    guard_libraries(is_quiet=is_quiet)
    secrets = secrets_in_words(words)
    with quietly() if is_quiet else nullcontext(), OutputToStderr() if prints_json else nullcontext():
        ending = ending_of(lambda: dispatch(words), secrets)
    told = 0
    if prints_json:
        told = say(ending.document())
    elif is_quiet and (run := ending.directory):
        told = say(f"{visible(run)}\n")
    return ending.exit_code or told


def ending_of(action: Callable[[], Mapping[str, Any] | None], secrets: Collection[str] = ()) -> Ending:
    """Run an action, which returns its result, and return how it ended; print errors on stderr, without `secrets`."""
    try:
        return Ending(0, action())
    except NnrunError as error:
        if os.environ.get("NNRUN_DEBUG") == "1":
            show_traceback()
        messages = [hide_known(message, secrets) for message in error.messages] or [type(error).__name__]
        return said(Ending(error.exit_code, reached_before(error), messages))
    except InterruptedRun as error:
        return said(Ending(error.exit_code, reached_before(error), error.messages or ("interrupted",)))
    except KeyboardInterrupt:
        return said(Ending(130, None, ("interrupted",)))
    except BrokenPipeError:
        # The reader is gone; the rest of the buffer must not raise again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Ending(ResourceError.exit_code)
    except Exception as error:
        machine = of_the_system(error)
        if machine is None or os.environ.get("NNRUN_DEBUG") == "1":
            show_traceback()
        bug = hide_known(f"this is a bug in nnrun: {type(error).__name__}: {error}", secrets)
        exit_code, why = (machine.exit_code, machine.messages) if machine else (BUG, (bug,))
        return said(Ending(exit_code, reached_before(error), why))


def said(ending: Ending) -> Ending:
    """Print the error messages of a command on stderr; return its ending."""
    complain(ending.messages)
    return ending


def dispatch(words: Sequence[str]) -> Mapping[str, Any] | None:
    """Run, sweep, or hand over to Hydra; return the result as plain values."""
    line = sort_words(words)
    if line.is_hydra_verb:
        return hydra_verb(line)
    if line.explained:
        explain_line(line)
        return None
    if command := command_called(line.overrides):
        if line.is_sweep:
            raise ConfigError(str(command.not_swept))
        made = carry_out(command, line.overrides[1:])
        return None if made is None else made.to_json()
    if line.is_sweep:
        from nnrun.sweeps.sweep import sweep  # noqa: PLC0415 - a run does not need it

        return sweep(line.overrides, line.own, collect_rules(), line.note)
    says_where = any(word.lstrip("+~").startswith("launch") for word in line.overrides)
    if says_where:
        from nnrun.sweeps.single import place_of, run_at  # noqa: PLC0415 - most runs are here

        place = place_of(line.overrides, line.own, collect_rules())
        if place.name != "local":
            return run_at(place, line.own, collect_rules(), line.note)
        line.overrides = place.words
    composed = compose_line(line)
    if not says_where:
        check_launch_typed(composed.choices)
    find_modules_beside(composed.own)
    reached = perform(composed, line.overrides)
    return None if reached is None else reached.to_json()


def explain_line(line: CommandLine) -> None:
    """Print which file or argument sets the values that --explain names."""
    from nnrun.config.origins import explain  # noqa: PLC0415 - a run does not need it

    sys.stdout.write(visible_lines(explain(line.explained, compose_line(line), terminal_columns())))


def compose_line(line: CommandLine) -> Composed:
    """Return the checked config of a command line."""
    note = line.note
    try:
        composed = compose(line.overrides, line.own)
    except ConfigError as error:
        raise ConfigError(*error.complaints, *([note] if note else [])) from error
    return replace(composed, notes=(note,)) if note else composed


def compose(words: Sequence[str], own: Sequence[Path] = ()) -> Composed:
    """Return the checked config of the words of a command line; `own` are the user's config folders."""
    return compose_config(words, own, collect_rules())


def hydra_verb(line: CommandLine) -> Mapping[str, Any] | None:
    """Print the config of the run; hand over to Hydra for completion, its own help and its own config.

    With --json, return the config instead.
    """
    is_completion = any(word.startswith(("-sc", "--shell-completion")) for word in line.hydra)
    own = line.own
    composed = None if is_completion else compose(line.overrides, own)
    if composed and line.hydra in (["--cfg", "job"], ["-c", "job"], ["--cfg=job"]):
        shown = redact(composed.shown())
        if line.prints_json:
            return {"config": shown}
        sys.stdout.write(visible_lines(yaml_text(shown)))
        return None
    if line.prints_json:
        raise ConfigError(f"--json has no effect with {' '.join(line.hydra)}; --json --cfg job prints the config")
    import hydra  # noqa: PLC0415 - rarely needed

    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in own)}]"] if own else []
    overrides = line.overrides if is_completion else [*line.overrides, *search]
    sys.argv = [sys.argv[0], *line.hydra, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(lambda _: None)()
    return None

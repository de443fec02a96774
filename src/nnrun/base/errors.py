"""The errors that a user can meet, one class for each exit code."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnrun.base.secrets import redact
from nnrun.base.visible import visible, wrapped

if TYPE_CHECKING:
    from typing import Self

BUG = 70
# What a terminal takes for a command; a line's end and a tab are not among them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# How alike two names are of which one may be meant by the other: one letter of three may be wrong.
_LIKENESS = 0.65
# What people read of one error: a file can have more to complain of than a screen, or a disk, has room for.
MAX_MESSAGES, MAX_CHARACTERS = 50, 8_000


@dataclass(frozen=True)
class Complaint:
    """A problem in words, and the full key of the setting that it is about; of none, the key is empty.

    `others` are further keys that it is about, where settings are wrong together.
    """

    key: str
    text: str
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: str, got: object, allowed: str, hint: str = "") -> Complaint:
        """Say `key is got; allowed: ...; hint`, the one form in which a wrong value is reported."""
        return cls(key, f"{key} is {shown(redact(got, key))}; allowed: {allowed}" + (f"; {hint}" if hint else ""))


class NnrunError(Exception):
    """Carry one or more complaints to the user, and the exit code of the process."""

    exit_code = BUG

    def __init__(self, *problems: str | Complaint) -> None:
        said = [item if isinstance(item, Complaint) else Complaint("", item) for item in problems[:MAX_MESSAGES]]
        if len(problems) > MAX_MESSAGES:
            said.append(Complaint("", f"and {len(problems) - MAX_MESSAGES:,} more"))
        self.complaints = tuple(replace(item, text=_abbreviated(item.text)) for item in said)
        super().__init__("\n".join(self.messages))

    @property
    def messages(self) -> tuple[str, ...]:
        """What is said to the user."""
        return tuple(item.text for item in self.complaints)

    def about(self, key: str) -> Self:
        """Let what is about no key be about this one, in place; return the error."""
        self.complaints = tuple(item if item.key else replace(item, key=key) for item in self.complaints)
        return self

    def reword(self, change: Callable[[str], str]) -> None:
        """Change each message, in place."""
        self.complaints = tuple(replace(item, text=change(item.text)) for item in self.complaints)
        self.args = ("\n".join(self.messages),)


def _abbreviated(message: str) -> str:
    """Return a message, of one that nobody reads to its end the beginning and the end."""
    left_out = len(message) - MAX_CHARACTERS
    if left_out <= 0:
        return message
    half = MAX_CHARACTERS // 2
    return f"{message[:half]} ({left_out:,} characters are left out here) {message[-half:]}"


class SweepFailed(NnrunError):
    """Some jobs of a sweep failed."""

    exit_code = 1


class ConfigError(NnrunError):
    """The config is wrong: raised before data is read or a device is touched, where that can be known."""

    exit_code = 2

    @classmethod
    def of(cls, key: str, got: object, allowed: str, hint: str = "") -> ConfigError:
        """Name the key, the value it has, what is allowed and, where known, what to do next."""
        return cls(Complaint.of(key, got, allowed, hint))


class DataError(NnrunError):
    """The data is missing, damaged, or does not fit the config."""

    exit_code = 3


class ArtifactError(NnrunError):
    """A checkpoint or an exported file is wrong."""

    exit_code = 4


class ResourceError(NnrunError):
    """The environment lacks something: disk, permission, device, memory, a package."""

    exit_code = 5


class OutOfMemory(ResourceError):
    """Memory did not suffice for `what`, the host's or the device's; `advice` are settings to try, the best first."""

    def __init__(self, what: str, *advice: str) -> None:
        super().__init__(f"{what}: try {', or '.join(advice)}")
        self.what, self.advice = what, advice

    def with_first(self, advice: str) -> OutOfMemory:
        """Return the error with something better to try."""
        return OutOfMemory(self.what, advice, *self.advice)


class DivergedError(NnrunError):
    """The loss became NaN or infinite."""

    exit_code = 6


class InterruptedRun(KeyboardInterrupt):
    """The run was stopped by SIGINT (130) or SIGTERM (143).

    No Exception: a library that catches those, as exporters do, must not swallow it. `at_once`: it came in the midst
    of something, whose state must not be saved.
    """

    def __init__(self, signal_number: int, *messages: str, at_once: bool = False) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages
        self.exit_code = 128 + signal_number
        self.at_once = at_once

    def reword(self, change: Callable[[str], str]) -> None:
        """Change each message, in place."""
        self.messages = tuple(map(change, self.messages))
        self.args = ("\n".join(self.messages),)


def tell_reached(error: BaseException, reached: Mapping[str, Any]) -> None:
    """Let an error, of whatever class, carry what had been reached by then: `--json` prints it."""
    error.reached = reached  # type: ignore[attr-defined]


def reached_before(error: BaseException) -> Mapping[str, Any] | None:
    """Return what had been reached before an error; None where nothing had begun."""
    return getattr(error, "reached", None)


def complain(messages: Sequence[str]) -> None:
    """Write messages to stderr, each as `nnrun: ...`."""
    with suppress(OSError):  # nobody can be told then
        width = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
        for message in messages:
            # A name out of a stranger's file must not command the terminal.
            line = f"nnrun: {visible(message)}"
            sys.stderr.write(f"{wrapped(line, width) if width else line}\n")
        sys.stderr.flush()


def shown(value: object) -> str:
    """Return a value as YAML writes it, texts in quotes."""
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest known names, or an empty string.

    A bare leaf is answered with its full key: `lr` finds `optimizer.lr`. Of a full key, the section is believed first.
    """
    candidates = sorted(set(known))
    section, _, leaf = name.rpartition(".")
    beside = [key for key in candidates if key.rpartition(".")[0] == section]
    groups = (
        [key for key in candidates if key.rpartition(".")[2] == leaf],
        _near(leaf, beside),
        # Of two keys of one section the section is what is alike: only a section that is not there may be misspelt.
        [] if section and beside else difflib.get_close_matches(name, candidates, n=2, cutoff=_LIKENESS),
        _near(leaf, candidates),
    )
    near = next((group for group in groups if group), [])
    return f"did you mean {' or '.join(repr(key) for key in near[:3])}?" if near else ""


def _near(leaf: str, candidates: Sequence[str]) -> list[str]:
    """Return the keys whose last word is nearest to `leaf`."""
    leaves = {key.rpartition(".")[2] for key in candidates}
    near = difflib.get_close_matches(leaf, sorted(leaves), n=1, cutoff=_LIKENESS)
    return [key for key in candidates if near and key.rpartition(".")[2] == near[0]]

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
# Control characters that a terminal obeys, without newline and tab.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Minimum similarity of a suggested name: one letter in three may be wrong.
_LIKENESS = 0.65
# Limits on the text of one error: a damaged file can cause more messages than a screen, or a disk, has room for.
MAX_MESSAGES, MAX_CHARACTERS = 50, 8_000


@dataclass(frozen=True)
class Complaint:
    """A problem in words, and the full key of the setting that it is about; the key is empty if there is none.

    `others` are further keys, where several settings conflict.
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
        """The messages for the user."""
        return tuple(item.text for item in self.complaints)

    def about(self, key: str) -> Self:
        """Set the key of those complaints that have none, in place; return the error."""
        self.complaints = tuple(item if item.key else replace(item, key=key) for item in self.complaints)
        return self

    def reword(self, change: Callable[[str], str]) -> None:
        """Change each message, in place."""
        self.complaints = tuple(replace(item, text=change(item.text)) for item in self.complaints)
        self.args = ("\n".join(self.messages),)


def _abbreviated(message: str) -> str:
    """Return a message; of a very long one, the beginning and the end."""
    num_skipped = len(message) - MAX_CHARACTERS
    if num_skipped <= 0:
        return message
    half = MAX_CHARACTERS // 2
    return f"{message[:half]} ({num_skipped:,} characters omitted) {message[-half:]}"


class SweepFailed(NnrunError):
    """Some jobs of a sweep failed."""

    exit_code = 1


class ConfigError(NnrunError):
    """The config is wrong. Raised before data is read or a device is touched, where possible."""

    exit_code = 2

    @classmethod
    def of(cls, key: str, got: object, allowed: str, hint: str = "") -> ConfigError:
        """Name the key, its value, what is allowed and, where known, what to do next."""
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
    """The host or the device ran out of memory, as `what` says; `advice` lists what to try, the best first."""

    def __init__(self, what: str, *advice: str) -> None:
        super().__init__(f"{what}: try {', or '.join(advice)}")
        self.what, self.advice = what, advice

    def with_first(self, advice: str) -> OutOfMemory:
        """Return the error with another piece of advice before the rest."""
        return OutOfMemory(self.what, advice, *self.advice)


class DivergedError(NnrunError):
    """The loss became NaN or infinite."""

    exit_code = 6


class InterruptedRun(KeyboardInterrupt):
    """The run was stopped by SIGINT (130) or SIGTERM (143).

    Not an `Exception`: a library that catches those, as exporters do, must not swallow it. `at_once`: it interrupted
    an operation halfway, so the state must not be saved.
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
    """Attach the results so far to an error of any class: `--json` prints them."""
    error.reached = reached  # type: ignore[attr-defined]


def reached_before(error: BaseException) -> Mapping[str, Any] | None:
    """Return the results before an error; None if nothing had started."""
    return getattr(error, "reached", None)


def complain(messages: Sequence[str]) -> None:
    """Write messages to stderr, each as `nnrun: ...`."""
    with suppress(OSError):  # nobody is left to tell
        width = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
        for message in messages:
            # A name from an untrusted file must not control the terminal.
            line = f"nnrun: {visible(message)}"
            sys.stderr.write(f"{wrapped(line, width) if width else line}\n")
        sys.stderr.flush()


def shown(value: object) -> str:
    """Return a value as YAML writes it, strings in quotes."""
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest known names, or an empty string.

    A bare leaf finds its full key: `lr` gives `optimizer.lr`. For a full key, near names in its own section come first.
    """
    candidates = sorted(set(known))
    section, _, leaf = name.rpartition(".")
    beside = [key for key in candidates if key.rpartition(".")[0] == section]
    groups = (
        [key for key in candidates if key.rpartition(".")[2] == leaf],
        _near(leaf, beside),
        # Two keys of one section are always similar: compare full keys only if the section does not exist.
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

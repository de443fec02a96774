"""A short walk of each target over its seeds and damaged ones; what the judge must see; what was found once.

`make fuzz` does the fuzzing itself, and with --plant shows that it finds a fault behind each reader.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.fuzz import judge as judging
from campaigns.fuzz.finds import FINDS
from campaigns.fuzz.judge import Differs, Target, judge
from campaigns.fuzz.table import TARGETS
from nnrun.base.errors import ArtifactError

# Slower than the others: each of their inputs is a network that is built.
FEW, SLOW = 24, ("configs", "cards")


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Flip, cut, repeat or insert something."""
    at, more = draw.randrange(len(content) + 1), draw.randrange(1, 9)
    kind = draw.randrange(4)
    if kind == 0 and at < len(content):
        return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content[max(0, at - more) :]
    return content[:at] + draw.randbytes(more) + content[at:]


@pytest.fixture
def patient(monkeypatch):
    """Judge neither time nor memory: those of a process of tests are not those of an input."""
    monkeypatch.setattr(judging, "MAX_SECONDS", 1000.0)
    monkeypatch.setattr(judging, "LEAST_BYTES", 2**40)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read_and_damaged_ones_are_read_or_refused(name, tmp_path, patient):
    target, draw = TARGETS[name], random.Random(name)
    for number, seed in enumerate(target.first()):
        assert judge(target, seed) is None
        if number == 0:
            target.read(seed, tmp_path)  # not refused
    for _ in range(4 if name in SLOW else FEW):
        content = damaged(draw.choice(target.first()), draw)
        assert (fault := judge(target, content)) is None, f"{fault}: {content[:200]!r}"


@pytest.mark.parametrize("name", FINDS)
def test_what_was_found_once_is_no_fault_any_more(name, patient):
    target, content = FINDS[name]
    assert judge(TARGETS[target], content) is None


class Panic(BaseException):
    """As Rust's are: no Exception."""


def raises(error: BaseException):
    def read(_content: bytes, _folder: Path) -> None:
        raise error

    return read


def waits(_content: bytes, _folder: Path) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (raises(KeyError("x")), "KeyError"),
        (raises(Panic("x")), "Panic"),
        (raises(MemoryError()), "memory"),
        (raises(Differs("x")), "Differs"),
    ],
)
def test_a_reader_that_breaks_a_promise_is_seen(read, kind, patient):
    """Negative control of the judge; that a reader refuses is no fault."""
    target = Target("x", lambda: [b"seed"], read)
    assert judge(replace(target, read=raises(ArtifactError("refused"))), b"x") is None
    assert judge(target, b"x").kind == kind


def test_a_reader_that_hangs_or_takes_memory_is_seen(patient, monkeypatch):
    good = Target("x", lambda: [b"seed"], lambda *_: None)
    peaks = iter([100, 100 + 39 * 1000, 100, 100 + 41 * 1000])
    monkeypatch.setattr(judging, "LEAST_BYTES", 0)
    monkeypatch.setattr(judging, "_peak_bytes", lambda: next(peaks))
    assert judge(good, b"x" * 1000) is None
    assert judge(good, b"x" * 1000).kind == "memory"
    monkeypatch.undo()
    monkeypatch.setattr(judging, "MAX_SECONDS", 0.02)
    assert judge(replace(good, read=waits), b"x").kind == "slow"


def test_a_planted_fault_is_one_for_what_is_accepted_and_no_seed(patient):
    target = TARGETS["csv"]
    assert judge(target, target.first()[0], plant=True) is None
    assert judge(target, b"", plant=True) is None
    assert judge(target, target.first()[0] + b"x.png,y\n") is None
    fault = judge(target, target.first()[0] + b"x.png,y\n", plant=True)
    assert fault is not None
    assert fault.kind == "planted"

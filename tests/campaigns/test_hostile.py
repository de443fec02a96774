"""Every hostile file once, and programs that believe them: the campaign must see what then happens."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from campaigns import hostile
from campaigns.campaign import Arena
from campaigns.hostile import FILES, tries
from campaigns.specimen import prepare
from campaigns.strangers.kind import CKPT, EVERYWHERE, LOAD, RESUME, TITLE, Bench, Hostile
from campaigns.strangers.states import STATES
from campaigns.strangers.torch_zip import pack, torch_entries
from nnrun.assembly import loaded as loading
from nnrun.checkpoints import payload as contents
from nnrun.checkpoints import read as archive
from nnrun.checkpoints import safe_pickle as plain_pickle
from nnrun.cli import main


@pytest.fixture
def arena(tmp_path, shelf):
    return Arena(tmp_path, main, shelf=shelf)


def test_hostile_files_are_refused_and_nothing_runs(arena, monkeypatch):
    """Every file that can be read from Python, which takes milliseconds; of the others some, by commands.

    Those of many instructions are refused sooner than in the campaign, where each takes a second.
    """
    monkeypatch.setattr(plain_pickle, "MAX_INSTRUCTIONS", 2**17)
    only(monkeypatch, *(name for name, file in FILES.items() if LOAD in file.places), place=LOAD)
    result = hostile.hostile_files(arena, len(FILES))
    assert result.tried == len(hostile.FILES) > 100
    assert result.ok, "\n".join(result.notes)
    only(monkeypatch, *(name for name, file in FILES.items() if LOAD not in file.places))
    result = hostile.hostile_files(arena, 40)
    assert len(hostile.FILES) > result.tried == 40
    assert result.ok, "\n".join(result.notes)


def test_each_file_comes_once_before_any_comes_twice():
    order = list(tries(random.Random(0)))
    assert {name for name, _ in order[: len(FILES)]} == set(FILES)
    assert set(order) == {(name, place) for name, file in FILES.items() for place in file.places}
    assert len(order) == len(set(order))
    assert {place for _, place in order[: len(FILES)]} == set(EVERYWHERE)
    assert order != list(tries(random.Random(1)))


def only(monkeypatch, *names, place=None):
    """Leave only some files in the table, perhaps in one place."""
    files = {name: FILES[name] for name in names}
    if place:
        files = {name: Hostile(file.write, (place,), file.codes, file.forge) for name, file in files.items()}
    monkeypatch.setattr(hostile, "FILES", files)


def test_pickles_that_are_believed_run(arena, monkeypatch):
    """Negative control: Python's own unpickler in the place of ours."""
    names = ["os.system", "eval", "open", "torch.load", "getattr", "INST", "OBJ", "a name with dots", "__setstate__"]
    names += ["a function out of the memo", "a pickle of protocol 0", "torch before 1.6"]
    only(monkeypatch, *names)
    prepare(arena)
    monkeypatch.setattr(archive, "read_pickle", lambda file: torch.load(file.path, weights_only=False))
    result = hostile.hostile_files(arena, len(names))
    assert result.ran == len(names), result.notes


@pytest.mark.parametrize("name", ["a made argument in a list", "a network that is 'nnrun_canary.Canary'"])
def test_classes_that_are_believed_run(arena, monkeypatch, name):
    """Negative control: nobody asks whose class it is."""
    only(monkeypatch, name, place=LOAD)
    monkeypatch.setattr(loading, "check_trust", lambda *_: None)
    result = hostile.hostile_files(arena, 1)
    assert result.ran == 1, result.notes


def test_an_interpolation_that_is_resolved_is_counted(arena, monkeypatch):
    """Negative control: nobody looks at the texts, and one reads the environment."""
    only(monkeypatch, f"the text {'${oc.env:NNRUN_CANARY}'!r}", place=CKPT)
    monkeypatch.setattr(contents, "check_plain", lambda *_: None)
    result = hostile.hostile_files(arena, 1)
    assert result.ran == 1, result.notes
    assert "it read the environment" in result.notes[0]


def stray(words):
    """A program that takes everything for good."""
    return 0 if words[0].startswith("ckpt=") else main(words)


def torn(words):
    """A program that writes into what it refuses."""
    code = main(words)
    if words[0].startswith("ckpt="):
        with Path(words[0].removeprefix("ckpt=")).open("ab") as file:
            file.write(b"read")
    return code


def loud(words):
    """A program that prints all that it meets."""
    sys.stderr.write("x" * 50_000)
    return main(words)


def commanding(words):
    """A program that prints a stranger's text as it is."""
    sys.stderr.write(TITLE)
    return main(words)


def slow(words):
    """A program that waits for ever."""
    if words[0].startswith("ckpt="):
        time.sleep(60)
    return main(words)


@pytest.mark.parametrize(
    ("program", "kind", "what"),
    [
        (stray, "unexplained", "4 was promised; it ends with 0"),
        (torn, "lost", "the file was changed"),
        (loud, "unexplained", "a message of 50,"),
        (commanding, "unexplained", "a message that commands the terminal"),
        (slow, "unexplained", "nothing within 0.2 s"),
    ],
)
def test_a_program_that_breaks_a_promise_is_counted(arena, monkeypatch, program, kind, what):
    monkeypatch.setattr(hostile, "MAX_SECONDS", 0.2)
    only(monkeypatch, "a text", place=CKPT)
    result = hostile.hostile_files(replace(arena, main=program), 1)
    assert getattr(result, kind) == 1, result.notes
    assert what in result.notes[0]


def test_a_file_that_is_whole_is_read(arena, monkeypatch):
    """Negative control of the table: the checkpoint that hostile files are made from is a good one everywhere."""
    monkeypatch.setattr(hostile, "FILES", {"good": Hostile(Bench.save, codes=(0,))})
    result = hostile.hostile_files(arena, 100)
    assert (result.tried, result.ok) == (len(EVERYWHERE), True), result.notes
    made = Hostile(lambda bench: pack(bench.path, torch_entries(bench.good)), codes=(0,))
    monkeypatch.setattr(hostile, "FILES", {"good, by hand": made})
    result = hostile.hostile_files(arena, 2)
    assert (result.tried, result.ok) == (2, True), result.notes


def test_each_hostile_run_directory_is_refused_and_nothing_beside_it_changes(arena, monkeypatch):
    """What a run directory says is joined to paths: exports, checkpoints, logs, rows.

    Negative control: the good run of the last test, and the campaign's canary, which a folder made elsewhere would be.
    """
    names = [name for name in FILES if "export" in name or "link" in name or "status" in name or "manifest" in name]
    only(monkeypatch, *names, "rows without end", "a temporary file that is a folder", place=RESUME)
    result = hostile.hostile_files(arena, len(names) + 2)
    assert result.tried > 25
    assert result.ok, "\n".join(result.notes)


def test_each_state_that_no_training_has_is_refused(arena, monkeypatch):
    """Among them those that ended the process: a fused optimizer reads as many numbers as a parameter has."""
    only(monkeypatch, *STATES, place=RESUME)
    result = hostile.hostile_files(arena, len(STATES))
    assert result.tried > 40
    assert result.ok, "\n".join(result.notes)

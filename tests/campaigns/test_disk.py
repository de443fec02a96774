"""Disks that are full, read-only or failing: the campaigns find nothing here, and find a program that lies."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from campaigns.calls import failing_fsync, kill_at_each_call, kill_run_at_each_call, save_again
from campaigns.disk import disk_full, read_only
from nnrun import cli
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.manifest import ManifestEntry


@pytest.mark.parametrize(
    ("campaign", "count"),
    [
        # A limit on the size of files and a small disk, each from the start and from a random moment on.
        (disk_full, 4),
        (read_only, 2),
        (failing_fsync, 1),
        (kill_run_at_each_call, 2),
        (kill_at_each_call, 8),
    ],
)
def test_what_a_disk_does_is_said_and_the_run_goes_on_to_the_same_bits(arena, campaign, count):
    result = campaign(arena, count)
    assert result.ok, result.line()
    assert result.tried == count or "can be written to here" in result.notes[0]


def test_without_strace_the_same_is_tried_by_wrapping(arena, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    result = kill_at_each_call(arena, 3)
    assert result.tried == 3
    assert result.ok, result.line()
    assert "by wrapping Python's calls" in result.notes[0]


def main_that_never_complains(words: Sequence[str]) -> int:
    code = cli.main(words)
    return 0 if code == 5 else code


def main_that_ignores_fsync(words: Sequence[str]) -> int:
    original = os.fsync

    def fsync(descriptor):
        with contextlib.suppress(OSError):
            original(descriptor)

    os.fsync = fsync
    return cli.main(words)


@pytest.mark.parametrize(
    ("campaign", "main", "found"),
    [
        (disk_full, main_that_never_complains, "results cannot be read"),
        (failing_fsync, main_that_ignores_fsync, "it failed, and the run ended well"),
    ],
)
def test_negative_control_a_program_that_hides_what_the_disk_did_is_found(arena, campaign, main, found):
    result = campaign(replace(arena, main=main), 1)
    assert not result.ok
    assert found in " ".join(result.notes)


def save_in_place(words: Sequence[str]) -> int:
    """The manifest before the data, and the data under its last name from the first byte on."""

    def save(folder, payload, step, *, is_best):
        content = io.BytesIO()
        torch.save({"schema": 1, **payload}, content)
        sha256 = hashlib.sha256(content.getvalue()).hexdigest()
        entry = ManifestEntry(f"step-{step:08d}-{sha256[:8]}.ckpt", sha256, len(content.getvalue()), step)
        folder._commit(entry, is_best=is_best)
        (folder.path / entry.name).write_bytes(content.getvalue())

    CheckpointFolder.save = save
    return save_again(words)


def save_and_leave(words: Sequence[str]) -> int:
    """What an earlier process left is not removed."""
    CheckpointFolder._sweep = lambda *_: None
    return save_again(words)


@pytest.mark.parametrize(
    ("save", "count", "kind", "found"),
    [
        (save_in_place, 0, "lost", "the manifest names step-"),
        (save_and_leave, 4, "unexplained", "left behind: "),
    ],
)
def test_negative_control_a_careless_save_is_found(arena, save, count, kind, found):
    result = kill_at_each_call(arena, count, save)
    assert getattr(result, kind) > 0
    assert found in " ".join(result.notes)

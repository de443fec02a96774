"""Files appear whole or not at all; a folder has one owner."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

import nnrun.base.files
import nnrun.base.lock
from nnrun.base.errors import ResourceError
from nnrun.base.files import DurableFile, saving, sha256_of, sweep_temporaries, write_json, write_text
from nnrun.base.lock import check_free, locked


def test_a_committed_file_is_whole_named_by_its_hash_and_readable(tmp_path):
    previous = os.umask(0o022)
    try:
        with DurableFile(tmp_path) as file:
            file.write(b"hello ")
            file.write(memoryview(b"world"))
            assert not list(tmp_path.glob("[!.]*"))
            path = file.commit(f"x-{file.sha256[:8]}")
    finally:
        os.umask(previous)
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert path == tmp_path / f"x-{digest[:8]}"
    assert path.read_bytes() == b"hello world"
    assert file.num_bytes == 11
    assert sha256_of(path) == digest
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_bytes_and_folder_are_synced_around_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, nnrun.base.files.Path.replace

    def spy_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_replace(path, target):
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(nnrun.base.files.os, "fsync", spy_fsync)
    monkeypatch.setattr(nnrun.base.files.Path, "replace", spy_replace)
    write_text(tmp_path / "x", "text")
    assert events == ["file", "rename", "folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_without_a_commit_nothing_is_left_and_the_old_file_stays(tmp_path, error):
    write_text(tmp_path / "x.json", "old")
    with pytest.raises(error), DurableFile(tmp_path) as file:
        file.write(b"new")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_json_states_its_schema_first_and_keeps_its_letters(tmp_path):
    write_json(tmp_path / "x.json", {"name": "é"}, 3)
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "schema": 3,\n  "name": "é"\n}\n'


def test_only_our_temporaries_are_swept(tmp_path):
    for name in (".abc.tmp", "mine.tmp", ".hidden", "x"):
        (tmp_path / name).write_text("")
    sweep_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "mine.tmp", "x"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only; choose another folder with hydra.run.dir="),
        (errno.EACCES, "permission denied"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "input/output error"),
        (errno.ENOTDIR, "a file exists where a folder is needed"),
        (errno.ELOOP, "Too many levels"),
    ],
)
def test_what_a_disk_can_do_is_said_with_the_path_and_the_way_out(tmp_path, number, words):
    with pytest.raises(ResourceError, match=f"cannot write {tmp_path}: .*{words}"), saving(tmp_path):
        raise OSError(number, os.strerror(number))


HOLD = """
import sys, time
from pathlib import Path
from nnrun.base.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_the_pid(tmp_path, holder):
    with pytest.raises(ResourceError, match=rf"is in use by pid {holder.pid} on \S+ since .*; wait for it, or stop it"):
        locked(tmp_path).__enter__()
    with pytest.raises(ResourceError, match=f"is in use by pid {holder.pid} on "):
        check_free(tmp_path)
    # The refused process does not change the owner's name.
    assert f"pid {holder.pid}" in (tmp_path / ".lock").read_text()


def test_a_directory_that_nobody_holds_is_free(tmp_path):
    check_free(tmp_path)
    (tmp_path / ".lock").write_text("pid 1 on nowhere")
    check_free(tmp_path)
    with locked(tmp_path):
        pass
    check_free(tmp_path)
    check_free(tmp_path / "none")


def test_a_killed_processs_lock_is_taken_over_and_said(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path) as stale:
        assert stale is not None
        assert f"pid {holder.pid}" in stale
        assert f"pid {os.getpid()}" in (tmp_path / ".lock").read_text()
    with locked(tmp_path) as stale:
        assert stale is None


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="x"), locked(tmp_path):
        raise ValueError("x")
    with locked(tmp_path) as stale:
        assert stale is None


def test_a_holder_that_ended_well_meanwhile_is_not_called_dead(tmp_path, monkeypatch):
    """The holder's name is read from the file after the lock is taken, not before."""
    (tmp_path / ".lock").write_text("pid 1 on a since b")
    flock = fcntl.flock

    def ends_first(descriptor, operation):
        (tmp_path / ".lock").write_text("")
        flock(descriptor, operation)

    monkeypatch.setattr(nnrun.base.lock.fcntl, "flock", ends_first)
    with locked(tmp_path) as stale:
        assert stale is None


def _sleep(connection) -> None:
    connection.send(os.getpid())
    time.sleep(60)


def test_a_forked_worker_does_not_hold_its_parents_lock(tmp_path):
    """A data worker outlives a killed run by some seconds; an immediate resume must not find the run in use."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    lock = locked(tmp_path)
    lock.__enter__()
    worker = context.Process(target=_sleep, args=(theirs,))
    worker.start()
    try:
        assert ours.recv() == worker.pid
        with pytest.raises(ResourceError, match=f"in use by pid {os.getpid()} "):
            locked(tmp_path).__enter__()
        lock.__exit__(None, None, None)
        with locked(tmp_path):
            assert worker.is_alive()
    finally:
        worker.kill()
        worker.join()

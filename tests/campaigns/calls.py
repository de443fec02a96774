"""Campaigns that let one system call fail, or be the last: each call to the disk of a run, or of a save."""

from __future__ import annotations

import errno
import itertools
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from campaigns.campaign import Arena, Broken, Result, counting, nursery_of
from campaigns.command import Command, Main
from campaigns.subject import check_files, expect, expect_refusal, undisturbed
from campaigns.tracing import FAILS, KILLS, TO_DISK, spread, tracer_of
from nnrun.base.files import TEMPORARY_SUFFIX
from nnrun.base.foreign_errors import explain
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, read_manifest

UNSYNCED = explain(OSError(errno.EIO, ""))


def failing_fsync(arena: Arena, count: int) -> Result:
    """Let one fsync of a run fail, each of them by turns or `count` of them (0: each); then go on with the run."""
    return _at_each_call(arena, count, Result("failing fsync"), ("fsync",), FAILS)


def kill_run_at_each_call(arena: Arena, count: int) -> Result:
    """Kill a run at each call that it makes to the disk, or at `count` of them (0: each); then go on with the run."""
    return _at_each_call(arena, count, Result("killed at each call of a run"), TO_DISK, KILLS)


def _at_each_call(arena: Arena, count: int, result: Result, names: Sequence[str], effect: str) -> Result:
    """Let one call of a short run have an effect, by turns, and finish the run."""
    draw, run = arena.draw, arena.folder / "run"
    with nursery_of(arena) as nursery, counting(result, "undisturbed", tries=0):
        subject = undisturbed(arena, nursery, "plain", "trainer.max_steps=3")

        def fresh() -> Command:
            shutil.rmtree(run, ignore_errors=True)
            return Command(subject.main, arena.folder, (*subject.words, f"hydra.run.dir={run}"))

        tracer = tracer_of(nursery, arena.folder, result)
        for call in spread(tracer.calls(fresh, names), count, draw):
            command = fresh()
            with counting(result, f"{call.name} {call.nth}{' of a thread' if call.in_thread else ''}"):
                child = tracer.start(command, call, effect)
                if effect == KILLS:
                    expect(child, -signal.SIGKILL)
                elif expect_refusal(subject, run, child, UNSYNCED) == 0:
                    raise Broken("unexplained", "it failed, and the run ended well")
                subject.finish(run)
    return result


def kill_at_each_call(arena: Arena, count: int, save: Main | None = None) -> Result:
    """Kill a process at each call that one save makes to the disk, or at `count` of them (0: each); then save again.

    The manifest must be that before the save or that after it, all that it names whole, and the second save must leave
    the folder as if the first had never been. `save` is what `save_again` is.
    """
    result, draw = Result("killed at each call of a save"), arena.draw
    with nursery_of(arena) as nursery, counting(result, "undisturbed", tries=0):
        whole = undisturbed(arena, nursery, "plain", "trainer.max_steps=3").whole
        source = whole / FOLDER_NAME / str(read_manifest(whole / FOLDER_NAME).last)

        def saving(name: str) -> tuple[Path, Command]:
            run = arena.folder / name
            shutil.copytree(whole / FOLDER_NAME, run / FOLDER_NAME)
            # What an earlier kill has left, so that its removal is among what is broken off.
            (run / FOLDER_NAME / f".left{TEMPORARY_SUFFIX}").touch()
            (run / FOLDER_NAME / "step-00000001-00000000.ckpt").touch()
            return run, Command(save or save_again, arena.folder, (str(run), str(source)))

        after, command = saving("after")
        expect(nursery.start(command), 0)
        manifests = [(run / FOLDER_NAME / MANIFEST_NAME).read_bytes() for run in (whole, after)]
        tracer = tracer_of(nursery, arena.folder, result)
        numbers = itertools.count()
        calls = tracer.calls(lambda: saving(f"counted{next(numbers)}")[1], TO_DISK)
        for call in spread(calls, count, draw):
            with counting(result, f"{call.name} {call.nth}"):
                run, command = saving(f"{call.name}-{call.nth}")
                expect(tracer.start(command, call, KILLS), -signal.SIGKILL)
                check_files(run)
                if (run / FOLDER_NAME / MANIFEST_NAME).read_bytes() not in manifests:
                    raise Broken("lost", "the manifest is neither the one before the save nor the one after it")
                expect(nursery.start(command), 0)
                _check_same_files(run / FOLDER_NAME, after / FOLDER_NAME)
                shutil.rmtree(run)
    return result


def save_again(words: Sequence[str]) -> int:
    """Save a checkpoint, the second word, as that of the next step into a run, the first. (A child's main.)"""
    import torch  # noqa: PLC0415 - takes a while

    from nnrun.checkpoints.folder import CheckpointFolder  # noqa: PLC0415 - imports torch

    run, source = map(Path, words)
    payload = torch.load(source, weights_only=True)
    del payload["schema"]
    CheckpointFolder(run, keep_last=2).save(payload, payload["training"]["progress"]["step"] + 1, is_best=False)
    return 0


def _check_same_files(folder: Path, wanted: Path) -> None:
    """Raise Broken unless two folders hold the same files."""
    ours, theirs = ({path.name: path.read_bytes() for path in side.iterdir()} for side in (folder, wanted))
    if leftovers := sorted(ours.keys() - theirs.keys()):
        raise Broken("unexplained", f"left behind: {', '.join(leftovers)}")
    if ours != theirs:
        raise Broken("different", f"other files than without the kill: {', '.join(sorted(theirs))}")

"""Test nnrun's guarantees on the user's own disk, such as resuming a run that was killed while it saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nnrun.base.errors import ArtifactError, NnrunError
from nnrun.base.files import TEMPORARY_SUFFIX
from nnrun.base.signals import StopRequest
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.manifest import FOLDER_NAME, read_manifest
from nnrun.tasks.doctor.machine import ABSENT, FAILS, WORKS, Finding

# 15 checkpoints of 10 MB: each takes long enough to write that a kill can hit it. On the CPU, with one thread: other
# devices, or a different number of threads, may give different bits.
_TRAINING = (
    *("model=mlp", "model.hidden=[1024]", "data.limit=300", "data.batch_size=30", "trainer.device=cpu"),
    *("trainer.epochs=3", "trainer.checkpoint_every_steps=2", "trainer.log_every_steps=1", "trainer.progress=false"),
    "export=none",
)
_NNRUN = (sys.executable, "-m", "nnrun")
_LOOKS_EVERY_SECONDS = 0.001
# Each command takes some seconds; on a slow disk, importing torch alone may take a minute.
_HANGS_AFTER_SECONDS = 300.0
# In the second epoch, when there is a best checkpoint and the optimizer has state.
_KILLED_AFTER_STEP = 10
_SHOWN_ERROR = 300


class Failed(Exception):
    """A check failed; the message says how."""


def try_runs(folder: Path, stop: StopRequest) -> list[Finding]:
    """Train, kill, resume and export in an empty folder, and return a row for each.

    Raises InterruptedRun after a signal. Each command waits only for those that it needs: two run at a time.
    """
    with Commands(folder, stop) as commands:
        commands.start("trained", *_TRAINING, "hydra.run.dir=trained")
        commands.start("killed", *_TRAINING, "hydra.run.dir=killed")
        kill = _row("a run killed while it saves", lambda: _kill_in_a_save(commands, folder / "killed"))
        train = _row("a training run", lambda: f"trained and evaluated in {commands.end('trained'):.1f} s")
        if train.state == WORKS:
            commands.start("exported", "ckpt=trained", "export=onnx", "hydra.run.dir=exported")
        rows = [train, kill]
        if train.state == kill.state == WORKS:
            commands.start("resumed", "resume=killed")
            rows.append(_row("resuming the killed run", lambda: _resume(commands, folder)))
        if train.state != WORKS:
            return [*rows, Finding("export=onnx", ABSENT, "not tested: there is no trained network")]
        damaged = _row("a checkpoint with one bit flipped", lambda: _damage(folder))
        export = _row("export=onnx", lambda: f"exported and verified in {commands.end('exported'):.1f} s")
    return [*rows, damaged, export]


def _row(what: str, attempt: Callable[[], str]) -> Finding:
    """Make an attempt and return its row of the table."""
    try:
        return Finding(what, WORKS, attempt())
    except (Failed, NnrunError, OSError) as error:
        return Finding(what, FAILS, str(error))


class Commands:
    """Running nnrun commands in a folder, each in its own process, by name; all are killed when the block ends."""

    def __init__(self, folder: Path, stop: StopRequest) -> None:
        self._folder = folder
        self._stop = stop
        self._processes: dict[str, tuple[subprocess.Popen[bytes], float]] = {}

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        for process, _started in self._processes.values():
            process.kill()
            process.wait()

    def start(self, name: str, *words: str) -> None:
        """Start a command."""
        # The import paths of this program, absolute because the command runs in another folder.
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)  # noqa: PTH100 - no links resolved
        with self._stop.held(), self._errors(name).open("wb") as errors:
            process = subprocess.Popen(
                [*_NNRUN, *words],
                cwd=self._folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Only this process receives a Ctrl-C; it ends the others.
                start_new_session=True,
            )
            self._processes[name] = (process, time.monotonic())
        self._stop.catch_up()

    def send(self, name: str, number: int) -> None:
        """Send a signal to a command, unless it has ended."""
        self._processes[name][0].send_signal(number)

    def is_running(self, name: str) -> bool:
        """Return whether a command is still running; raise InterruptedRun if this program was told to stop."""
        self._stop.poll()
        process, started = self._processes[name]
        if process.poll() is not None:
            return False
        if time.monotonic() - started > _HANGS_AFTER_SECONDS:
            raise Failed(f"it did not finish within {_HANGS_AFTER_SECONDS:.0f} s")
        time.sleep(_LOOKS_EVERY_SECONDS)
        return True

    def end(self, name: str, code: int = 0) -> float:
        """Wait for a command to end and return how many seconds it took; raise Failed for any other exit code."""
        while self.is_running(name):
            pass
        process, started = self._processes[name]
        if process.returncode != code:
            said = self._errors(name).read_text(errors="replace").strip()[-_SHOWN_ERROR:]
            raise Failed(f"exit code {process.returncode}: {said or 'no error message'}")
        return time.monotonic() - started

    def _errors(self, name: str) -> Path:
        return self._folder / f"{name}.stderr"


def _kill_in_a_save(commands: Commands, run: Path) -> str:
    """Kill a run in the middle of a save, in its second epoch: its last checkpoint must be intact."""
    while commands.is_running("killed"):
        if _is_saving(run) and _last_step(run) >= _KILLED_AFTER_STEP:
            # The save continues while we look: only a stopped process is certain to be in the middle of one.
            commands.send("killed", signal.SIGSTOP)
            time.sleep(_LOOKS_EVERY_SECONDS)
            if _is_saving(run):
                break
            commands.send("killed", signal.SIGCONT)
    else:
        commands.end("killed")
        raise Failed("it ended before it could be killed in a save; run task=doctor again")
    commands.send("killed", signal.SIGKILL)
    commands.end("killed", -signal.SIGKILL)
    saved = locate(run, "last")
    if saved.notes:
        raise Failed("; ".join(saved.notes))
    return f"its last checkpoint, of step {_last_step(run)}, is intact"


def _last_step(run: Path) -> int:
    """Return the step of a run's last committed checkpoint, or 0 if there is none yet."""
    try:
        return max(entry.step for entry in read_manifest(run / FOLDER_NAME).files)
    except ArtifactError:
        return 0


def _is_saving(run: Path) -> bool:
    """Return whether a file is being written beside the checkpoints."""
    with contextlib.suppress(FileNotFoundError):
        return any(entry.name.endswith(TEMPORARY_SUFFIX) for entry in os.scandir(run / FOLDER_NAME))
    return False


def _resume(commands: Commands, folder: Path) -> str:
    """Compare the resumed run with the uninterrupted one."""
    seconds = commands.end("resumed")
    ours, theirs = _results(folder / "killed"), _results(folder / "trained")
    differing = [name for name, value in theirs.items() if ours[name] != value]
    if differing:
        raise Failed(f"it is not bit-identical to an uninterrupted run: {', '.join(differing)}")
    if _is_saving(folder / "killed"):
        raise Failed("the temporary file of the killed save was not removed")
    return f"bit-identical to an uninterrupted run, in {seconds:.1f} s"


def _results(run: Path) -> dict[str, object]:
    """Return what two runs of one config must have in common: rows of metrics, and hashes of checkpoints."""
    manifest = read_manifest(run / FOLDER_NAME)
    hashes = {entry.name: entry.sha256 for entry in manifest.files}
    found = {want: locate(run, want).path.name for want in ("best", "last")}
    rows = (run / "metrics.jsonl").read_bytes()
    return {"metrics.jsonl": rows} | {f"{want} checkpoint": hashes[name] for want, name in found.items()}


def _damage(folder: Path) -> str:
    """Flip one bit in a copy of a checkpoint; reading it must fail."""
    whole = locate(folder / "trained", "best").path
    damaged = Path(shutil.copy(whole, folder / whole.name))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    try:
        locate(damaged, "best")
    except ArtifactError:
        return "detected and refused"
    raise Failed("it was accepted as intact")

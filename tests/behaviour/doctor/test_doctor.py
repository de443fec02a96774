"""`task=doctor`: what it says of a machine on which all, or not all, works."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from nnrun.tasks.doctor import machine, run, trial
from support.command_line import run_here

# A program that does with its words what nnrun does, without training anything; MOOD says what it does wrong.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from nnrun.base.files import DurableFile, write_json
from nnrun.checkpoints.manifest import SCHEMA, ManifestEntry, Manifest, read_manifest

words = dict(word.partition("=")[::2] for word in sys.argv[1:])
mood = os.environ.get("MOOD")
if mood == "exports nothing" and words.get("export") == "onnx":
    sys.exit("no module named onnx")
if mood == "trains nothing" and words.get("hydra.run.dir") == "trained":
    sys.exit("no memory")
if mood == "is told to stop" and words.get("hydra.run.dir") == "killed":
    Path(os.environ["PID"]).write_text(str(os.getpid()))
    os.kill(os.getppid(), getattr(signal, os.environ["SIGNAL"]))
    time.sleep(600)
if "ckpt" in words:
    sys.exit()
run = Path(words.get("resume") or words["hydra.run.dir"])
folder = run / "checkpoints"
if "resume" in words:
    entries = list(read_manifest(folder).files)
    for left in folder.glob(".*.tmp") if mood != "leaves something" else ():
        left.unlink()
else:
    folder.mkdir(parents=True)
    entries = []
for step in range(len(entries), 30):
    with DurableFile(folder) as file:
        file.write(f"{step}{mood if 'resume' in words and mood == 'forgets' else ''}".encode())
        time.sleep(0.02 if words.get("hydra.run.dir") == "killed" else 0)
        entries.append(ManifestEntry(f"step-{step:08d}-{file.sha256[:8]}.ckpt", file.sha256, file.num_bytes, step))
        path = file.commit(entries[-1].name)
        if mood == "loses" and words.get("hydra.run.dir") == "killed" and step > 5:
            path.unlink()
    manifest = Manifest(tuple(entries), entries[-1].name, entries[-1].name)
    write_json(folder / "manifest.json", manifest.to_json(), SCHEMA)
(run / "metrics.jsonl").write_text("{}")
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put that program in the place of nnrun, and nothing in the place of the machine's rows."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    monkeypatch.setattr(trial, "_NNRUN", (sys.executable, str(path)))
    monkeypatch.setattr(run, "look_at_machine", lambda _: [])


def doctor(folder: Path, *words: str) -> tuple[int, str, str]:
    """Its exit code, and what it said on both streams, spaces as one; nothing may be left in the folder."""
    place = folder / "place"
    place.mkdir()
    outcome = run_here(["task=doctor", *words], place)
    assert outcome.created == []
    return outcome.code, " ".join(outcome.out.split()), outcome.err


def test_a_machine_on_which_all_works(tmp_path):
    code, said, complaints = doctor(tmp_path)
    assert (code, complaints) == (0, "")
    for row in (
        f"testing nnrun's guarantees in {tmp_path / 'place'};",
        "fp32 on cpu works loss",
        "disk works",
        "a training run works trained and evaluated in",
        "a run killed while it saves works its last checkpoint, of step",
        "resuming the killed run works bit-identical to an uninterrupted run",
        "a checkpoint with one bit flipped works detected and refused",
        "export=onnx works exported and verified in",
        "everything available here works",
    ):
        assert row in said


@pytest.mark.parametrize(
    ("mood", "what", "how"),
    [
        ("forgets", "resuming the killed run", "it is not bit-identical to an uninterrupted run: best checkpoint"),
        ("leaves something", "resuming the killed run", "the temporary file of the killed save was not removed"),
        ("loses", "a run killed while it saves", "is missing; falling back to step-00000005"),
        ("exports nothing", "export=onnx", "exit code 1: no module named onnx"),
        ("trains nothing", "a training run", "exit code 1: no memory"),
    ],
)
@pytest.mark.usefixtures("program")
def test_a_promise_that_is_broken_here(tmp_path, monkeypatch, mood, what, how):
    monkeypatch.setenv("MOOD", mood)
    code, said, complaints = doctor(tmp_path)
    assert (code, complaints) == (5, f"nnrun: {what}: failed on this machine; see the table\n")
    assert f"{what} FAILS " in said
    assert how in said


@pytest.mark.usefixtures("program")
def test_a_checkpoint_that_is_believed_though_a_bit_is_flipped(tmp_path, monkeypatch):
    """With the program as it should be, too: all else works."""
    original = trial.locate
    monkeypatch.setattr(trial, "locate", lambda path, want: original(path, want) if path.is_dir() else None)
    code, said, complaints = doctor(tmp_path)
    assert (code, said.count(" works ")) == (5, 4)
    assert "a checkpoint with one bit flipped: failed on this machine" in complaints


@pytest.mark.usefixtures("program")
def test_what_takes_too_long_is_a_row_and_no_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "_HANGS_AFTER_SECONDS", 0.0)
    code, said, _ = doctor(tmp_path)
    assert code == 5
    assert "a training run FAILS it did not finish within 0 s" in said


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.usefixtures("program")
def test_a_signal_ends_it_at_once(tmp_path, monkeypatch, name, code):
    for key, value in {"MOOD": "is told to stop", "PID": str(tmp_path / "pid"), "SIGNAL": name}.items():
        monkeypatch.setenv(key, value)
    assert doctor(tmp_path)[::2] == (code, "nnrun: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.usefixtures("program")
def test_it_looks_at_the_disk_where_runs_go(tmp_path):
    """Where hydra.run.dir says; without it, where outputs/ is or would be."""
    there = tmp_path / "a disk"
    there.mkdir()
    code, said, _ = doctor(tmp_path, f"hydra.run.dir={there}/runs/1")
    assert (code, f"guarantees in {there};" in said, list(there.iterdir())) == (0, True, [])
    (tmp_path / "place" / "outputs").mkdir()
    outcome = run_here(["task=doctor"], tmp_path / "place")
    assert f"guarantees in {tmp_path / 'place' / 'outputs'};" in " ".join(outcome.out.split())


def test_settings_beside_it_are_refused(tmp_path):
    outcome = run_here(["task=doctor", "model=mlp", "seed=1"], tmp_path)
    assert (outcome.code, "model, seed would have no effect with task=doctor" in outcome.err) == (2, True)
    # One mistake, one line: it does not exist, so it need not also have no effect.
    outcome = run_here(["task=doctor", "doctor.x=1"], tmp_path)
    assert (outcome.code, outcome.err.count("nnrun: ")) == (2, 1) and "doctor is not a setting" in outcome.err


CPU = torch.device("cpu")


def test_a_number_format_in_which_updates_are_left_out_does_not_work(monkeypatch):
    """Negative control: where all are made, it does."""
    assert machine._precision(CPU, "bf16").state == machine.WORKS
    monkeypatch.setattr(machine, "_train_a_little", lambda _, name: (1.0, 5 if name == "fp32" else 4))
    found = machine._precision(CPU, "bf16")
    assert found.state == machine.FAILS
    assert "only 4 of 5 updates were made" in found.detail


def test_a_device_that_fails_in_fp32_is_a_row_and_no_crash(monkeypatch):
    def fails(*_):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(machine, "_train_a_little", fails)
    rows = machine._precisions()
    assert [row.state for row in rows if row.what in ("fp32 on cpu", "bf16 on cpu")] == [machine.FAILS] * 2

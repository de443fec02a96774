"""`make gpu`, walked on a CPU; what becomes of a part that fails or takes too long; and what the bundle holds."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from support.tape import TapeRecorder

pytestmark = pytest.mark.usefixtures("warm_python")

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("gpu")
    for name in [name for name in sys.modules if name == "gpu" or name.startswith("on_gpu")]:
        del sys.modules[name]


@pytest.fixture
def walk(gpu, tmp_path):
    return gpu.Walk("cpu", tmp_path, gpu.surroundings(tmp_path / "no bundle", tmp_path / "site"), None, True)


def test_a_dry_walk_measures_a_row_at_least_of_every_part(gpu, tmp_path, capsys):
    """Negative control: the page names a part that was not walked as not measured."""
    assert gpu.main(["--dry", "--out", str(tmp_path), "--bundle", str(tmp_path / "none")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said] == [["ok", name] for name in gpu.LIMITS]
    for name in gpu.LIMITS:
        part = json.loads((tmp_path / f"{name}.json").read_text())
        assert part["rows"]
        assert part["failed_rows"] == []
    rows = {name: json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("resume", "waits")}
    assert rows["resume"][0]["same_bits"] is True
    assert {row["waits_at"] for row in rows["waits"]} == {"nowhere"}
    page = (tmp_path / "gpu.md").read_text()
    assert "a dry run on a CPU, whose figures mean nothing" in page
    assert "Not measured." not in page
    (tmp_path / "compile.json").unlink()
    importlib.import_module("on_gpu.page").write_page(tmp_path / "gpu.md", tmp_path, list(gpu.LIMITS), "make gpu")
    assert (tmp_path / "gpu.md").read_text().count("Not measured.") == 1


PRINTS_AND_HANGS = """
import json, pathlib, subprocess, sys, time
with pathlib.Path("waits.jsonl").open("w") as file:
    print(json.dumps({"row": "first", "figure": 1}), file=file)
    file.write('{"row": "hal')
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("child").write_text(str(child.pid))
time.sleep(60)
"""


def test_a_part_that_takes_too_long_is_ended_with_its_children_and_its_rows_are_kept(gpu, walk, capsys):
    ended = gpu.run_part(walk, "waits", 1.0, [sys.executable, "-c", PRINTS_AND_HANGS])
    gpu.record(walk, ended)
    part = json.loads((walk.out / "waits.json").read_text())
    assert part["ok"] is False
    assert part["ended"] == "not finished after 1 s"
    assert part["rows"] == [{"row": "first", "figure": 1}]
    assert capsys.readouterr().out.startswith("FAILED waits")
    child = Path("/proc") / (walk.out / "child").read_text() / "status"
    # On a busy machine, a process that was killed dies a moment later; one that was not sleeps for minutes.
    while child.exists() and "Z" not in child.read_text().split("State:")[1].split()[0]:
        time.sleep(0.05)


def test_a_forked_part_that_takes_too_long_is_ended_and_one_that_ends_has_its_code(gpu):
    server = importlib.import_module("on_gpu.server")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(60)
    assert server._wait(pid, time.monotonic() + 0.5) is None
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    assert server._wait(pid, time.monotonic() + 60) == 3


def test_parts_run_in_processes_of_their_own_if_the_one_that_forks_them_fails(gpu, walk, monkeypatch):
    prints = "print('here')"
    monkeypatch.setattr(
        gpu.Walk, "command", lambda _, name="", module="": [sys.executable, "-c", prints if name else "1 / 0"]
    )
    server = gpu.Server(walk)
    assert server.run("waits", 60.0)["ended"] == "finished"
    server.close()
    assert (walk.out / "waits.log").read_text() == "here\n"
    assert "ZeroDivisionError" in (walk.out / "server.log").read_text()


def test_a_part_that_crashes_is_recorded(gpu, walk):
    gpu.record(walk, gpu.run_part(walk, "steps", 30.0, [sys.executable, "-c", "import os; os.abort()"]))
    part = json.loads((walk.out / "steps.json").read_text())
    assert (part["ok"], part["rows"]) == (False, [])
    assert part["ended"] == "exit code -6"


def test_a_part_that_raises_keeps_its_rows_and_says_where(gpu, tmp_path, monkeypatch):
    part = importlib.import_module("on_gpu.part")
    place = importlib.import_module("on_gpu.place")

    def breaks(_):
        yield "first", {"figure": 1}
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setitem(part.PARTS, "waits", breaks)
    torch = importlib.import_module("torch")
    assert part.measure("waits", place.Place(torch.device("cpu"), tmp_path, None, True), tmp_path) is False
    rows = [json.loads(line) for line in (tmp_path / "waits.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == ["first", "FAILED"]
    assert rows[1]["error"] == "after 'first': RuntimeError: CUDA error: device-side assert triggered"


def test_the_limits_fill_eight_minutes_and_compiling_comes_last(gpu):
    assert gpu.ALL_SECONDS == 480
    assert list(gpu.LIMITS)[-1] == "compile"
    assert sum(gpu.LIMITS.values()) - gpu.LIMITS["compile"] < gpu.ALL_SECONDS - 60


def test_only_wheels_of_what_is_missing_are_unpacked(gpu, tmp_path):
    """Negative control: a package that is here, torch, stays the machine's own."""
    wheels = tmp_path / "bundle" / "wheels"
    wheels.mkdir(parents=True)
    for name in ("not_here_at_all-1.0-py3-none-any.whl", "torch-99-py3-none-any.whl", "hydra_core-9-py3-none-any.whl"):
        with zipfile.ZipFile(wheels / name, "w") as archive:
            archive.writestr(f"{name.split('-')[0]}/__init__.py", "")
    site = tmp_path / "site"
    gpu.unpack(tmp_path / "bundle", site)
    assert [path.name for path in site.iterdir()] == ["not_here_at_all"]


def test_the_bundle_has_every_dependency_that_such_a_machine_may_lack(gpu):
    """A new dependency of nnrun's joins it by itself."""
    bundle = importlib.import_module("gpu_bundle")
    names = bundle.to_bundle()
    assert {"hydra-core", "omegaconf", "antlr4-python3-runtime"} <= set(names)
    assert not {"torch", "numpy", "scipy", "rich", "pytest"} & set(names)
    assert len(names) <= 12, "each is to be pure Python, or to work without its compiled part"


def test_the_bundle_packs_the_source_and_mnist(gpu, tmp_path, monkeypatch):
    bundle = importlib.import_module("gpu_bundle")
    monkeypatch.setattr(bundle, "make_wheels", lambda folder: ["hydra_core-1-py3-none-any.whl"])
    monkeypatch.setattr(bundle, "SOURCE", ("Makefile", "conf"))
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in bundle.MNIST_FILES:
        (raw / name).write_bytes(b"pixels" * 1000)
    out = tmp_path / "bundle"
    assert bundle.main(["--out", str(out), "--root", str(tmp_path / "data")]) == 0
    about = json.loads((out / "bundle.json").read_text())
    assert about["mnist"] is True
    assert about["bytes"] < bundle.MOST_BYTES
    assert gpu.find_root(None, out) == out / "data"
    assert {path.name for path in (out / "data" / "MNIST" / "raw").iterdir()} == {
        f"{name}.gz" for name in bundle.MNIST_FILES
    }
    monkeypatch.setattr(bundle, "MOST_BYTES", 10)
    assert bundle.main(["--out", str(out)]) == 1


def test_every_setting_whose_waits_are_looked_for_can_be_built(gpu):
    """A GPU's minutes are not the time to find an option that does not compose."""
    torch, waiting = importlib.import_module("torch"), importlib.import_module("on_gpu.waiting")
    trainings = importlib.import_module("on_gpu.trainings")
    for name, setup in waiting.WAITS.items():
        if setup.precision != "fp16" and not setup.cuda_graph:
            state, work, plan = trainings.make_training(setup, torch.device("cpu"), 1)
            assert (work.train.num_batches, plan.total_steps) == (setup.accumulate, 1), name
            assert (state.ema is not None, type(work.step).__name__ == "SkippingStep") == (setup.ema, setup.skip)
            assert work.train.is_augmented is any(word.startswith("augment=") for word in setup.words)


def test_a_captured_step_is_timed_and_one_that_cannot_be_captured_is_no_eager_one(gpu, tmp_path, monkeypatch):
    trainings, torch = importlib.import_module("on_gpu.trainings"), importlib.import_module("torch")
    place = importlib.import_module("on_gpu.place").Place(torch.device("cpu"), tmp_path, None, True)
    recorder = TapeRecorder()
    monkeypatch.setattr(trainings, "CudaRecorder", lambda device, generators: recorder)
    setup = trainings.Setup(precision="fp32", cuda_graph=True)
    assert trainings.seconds_a_step(setup, place) > 0
    assert recorder.tapes

    def cannot(work):
        raise RuntimeError("no graphs here")

    monkeypatch.setattr(trainings, "CudaRecorder", lambda device, generators: cannot)
    with pytest.raises(RuntimeError, match="not captured: RuntimeError: no graphs here"):
        trainings.seconds_a_step(setup, place)


def test_a_captured_evaluation_is_timed_and_reads_new_weights(gpu, tmp_path, monkeypatch):
    """Negative control: one that cannot be captured is no eager one."""
    savings, torch = importlib.import_module("on_gpu.savings"), importlib.import_module("torch")
    place = importlib.import_module("on_gpu.place").Place(torch.device("cpu"), tmp_path, None, True)
    recorder = TapeRecorder()
    monkeypatch.setattr(savings, "CudaRecorder", lambda device, generators: recorder)
    found = savings._evaluated(place, "cnn", captured=True)
    assert len(recorder.tapes) == 1
    assert found["same_sums_for_new_weights"] is True

    def cannot(work):
        raise RuntimeError("no graphs here")

    monkeypatch.setattr(savings, "CudaRecorder", lambda device, generators: cannot)
    with pytest.raises(RuntimeError, match="not captured: RuntimeError: no graphs here"):
        savings._evaluated(place, "cnn", captured=True)

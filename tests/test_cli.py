"""The command line as its users meet it: help, paths, their own folder, secrets, sweeps, signals, closed pipes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import nnrun
from cli_fixtures import (
    NNRUN,
    OWN_MODULE,
    OWN_YAML,
    Outcome,
    Row,
    environment,
    mnist_files,
    run_here,
    run_rows,
    write_files,
)
from cli_fixtures import nnrun as run_nnrun
from nnrun import rundir
from nnrun.cli import main
from nnrun.confdir import GROUPS, options
from nnrun.sweep import JobResult, ranked

OWN = {"conf/model/mynet.yaml": OWN_YAML, "mynet.py": OWN_MODULE}
SHORT = ("trainer=debug", "data.limit=200", "data.val_fraction=0.2", "export=none", "trainer.progress=false")

# --- what needs no training -------------------------------------------------------------------------------------------


def python(code: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment(**more), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_names_every_group_and_option(tmp_path: Path) -> None:
    write_files(tmp_path, {"mine/model/mynet.yaml": OWN_YAML})
    done = run_nnrun(["--config-dir", "mine", "--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for group in GROUPS:
        below = lines[lines.index(group) + 1 :]
        listed = [line.lstrip(" *").split(" ")[0] for line in below[: below.index("")]]
        assert listed == options(group, [tmp_path / "mine"] if group == "model" else [])
    assert "mynet" in done.stdout
    assert any(line.startswith("  * cnn ") for line in lines), "the default is marked"
    assert "nnrun ckpt=outputs/latest" in done.stdout
    assert "mynet" not in run_nnrun(["-h"], tmp_path).stdout


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_neither_hydra_nor_torch(word: str, tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['nnrun', {!r}]; runpy.run_module('nnrun', run_name='__main__');"
        "print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    loaded = python(code.format(word), tmp_path).splitlines()[-1].split()
    assert "nnrun" in loaded
    assert not {"hydra", "omegaconf", "torch", "rich", "yaml", "numpy"} & set(loaded)


def test_version(tmp_path: Path) -> None:
    done = run_nnrun(["--version"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nnrun {nnrun.__version__}\n", "")


def test_the_console_script_and_the_module_are_one_program() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="nnrun")
    assert script.value == "nnrun.__main__:main"


def test_cfg_job_prints_the_config(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    done = run_nnrun(["--cfg", "job", "model=mynet", "optimizer.lr=0.5", "model.api_key=CANARY"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    config = yaml.safe_load(done.stdout)
    assert config["model"]["_target_"] == "mynet.MyNet"
    assert config["optimizer"]["lr"] == 0.5
    assert config["model"]["api_key"] == "***"
    assert config["trainer"]["epochs"] == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "mynet.py"]
    wrong = run_nnrun(["--cfg", "job", "model=zzz"], tmp_path)
    assert wrong.returncode == 2
    assert "nnrun: model=zzz is not an option" in wrong.stderr


def test_completion_and_hydras_own_help(tmp_path: Path) -> None:
    completion = run_nnrun(["-sc", "install=bash"], tmp_path)
    assert completion.returncode == 0
    assert "complete -o nospace -o default -F hydra_bash_completion" in completion.stdout
    help_text = run_nnrun(["--hydra-help"], tmp_path)
    assert help_text.returncode == 0
    assert "--multirun" in help_text.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_what_prints_may_be_cut_short(words: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*NNRUN, *words], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), check=False
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_two_runs_never_get_one_directory(tmp_path: Path) -> None:
    """Twenty at once, in the same second: mkdir decides."""
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(rundir.create(None, "cnn_digits", tmp_path))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20
    assert all(path.is_dir() for path in made)


def test_names_of_directories_hold_no_equals_sign_and_no_space() -> None:
    assert rundir.plain_name("optimizer.lr=1e-3 x/y") == "optimizer.lr-1e-3-x-y"
    assert rundir.plain_name("../..") == "run"


def test_jobs_are_ranked_by_the_monitored_metric() -> None:
    def order(mode: str, values: list[float | None]) -> list[int]:
        jobs = [JobResult(n, {}, "", 0 if v is not None else 2, "", "m", v, mode) for n, v in enumerate(values)]
        return [job.number for job in ranked(jobs)]

    values = [0.5, None, 0.25, float("nan"), 0.75]
    assert order("min", values) == [2, 0, 4, 1, 3]
    assert order("max", values) == [4, 0, 2, 1, 3]


# --- rows that train, in one process ----------------------------------------------------------------------------------

CANARY = "CANARY"
ODD_NAMES = ("two words", "a=b", "a,[b]", "it's {é}")
SECRET_YAML = OWN_YAML + f"api_key: {CANARY}-in-yaml\nlogins:\n  db_token: {CANARY}-nested\nmood: FINCH\n"
SECRET_WORDS = (f"model.api_key={CANARY}-typed", f"model.logins={{db_token: {CANARY}-in-a-mapping}}")

ROWS: dict[str, Row] = {
    **{
        f"train in {odd}": Row([*SHORT, "model=mlp", f"hydra.run.dir=out/{odd}"], 0, [], folder="odd")
        for odd in ODD_NAMES
    },
    **{f"ckpt={odd}": Row([f"ckpt=out/{odd}", f"hydra.run.dir=of/{odd}"], 0, [], folder="odd") for odd in ODD_NAMES},
    "init_from": Row([*SHORT, "model=mlp", "init_from=out/a,[b]", "hydra.run.dir=from"], 0, [], folder="odd"),
    "resume": Row(["resume=out/a,[b]"], 0, [], folder="odd"),
    "quoted for hydra": Row(["ckpt='out/a,[b]'"], 0, [], folder="odd"),
    "data.root": Row(
        [*SHORT, "model=mlp", "data=mnist", "data.batch_size=8", "data.root=my data=é,[1]"],
        0,
        [],
        mnist_files("my data=é,[1]"),
    ),
    "latest: first": Row([*SHORT, "model=mlp", "hydra.run.dir=first"], 0, [], folder="latest"),
    "latest: second": Row([*SHORT, "model=mlp", "hydra.run.dir=second", "seed=1"], 0, [], folder="latest"),
    "latest: evaluated": Row(["ckpt=first"], 0, [], folder="latest"),
    "latest: wrong": Row(["optimizer.lr=-1"], 2, [], folder="latest"),
    "own: trained": Row([*SHORT, "model=mynet"], 0, [], OWN, folder="own"),
    "own: not trusted": Row(["ckpt=outputs/latest"], 4, [], folder="own"),
    "own: wrongly trusted": Row(["ckpt=outputs/latest", "trust=[mine]"], 4, [], folder="own"),
    "own: trusted": Row(["ckpt=outputs/latest", "trust=[mynet]"], 0, [], folder="own"),
    "own: named": Row(["ckpt=outputs/latest", "model=mynet"], 0, [], folder="own"),
    "own: resumed, not trusted": Row(["resume=outputs/latest"], 4, [], folder="own"),
    "config-dir": Row(
        ["--config-dir", "mine", *SHORT, "model=mynet"],
        0,
        [],
        {"mine/model/mynet.yaml": OWN_YAML, "mynet.py": OWN_MODULE},
    ),
    "config-dir=": Row(
        ["--config-dir=mine", *SHORT[1:], "model=zzz"], 2, ["mynet"], {"mine/model/mynet.yaml": OWN_YAML}
    ),
    "no config-dir": Row([*SHORT, "model=mynet"], 2, ["there are cnn, mlp"], {"mine/model/mynet.yaml": OWN_YAML}),
    "own: ours are not hidden": Row([*SHORT, "model=mlp"], 0, [], {"torch.py": "raise ImportError('not this one')"}),
    "secrets": Row(
        [*SHORT, "export=onnx", "model=mynet", *SECRET_WORDS],
        0,
        [],
        {"conf/model/mynet.yaml": SECRET_YAML, "mynet.py": OWN_MODULE},
        folder="secrets",
    ),
    "secrets evaluated": Row(["ckpt=outputs/latest", "model=mynet", *SECRET_WORDS], 0, [], folder="secrets"),
    "secrets swept": Row(
        ["-m", *SHORT, "model=mynet", f"model.api_key={CANARY}-1,{CANARY}-2", "model.mood=FINCH,breaks", "seed=0"],
        1,
        [],
        folder="secrets",
    ),
    "secrets wrong": Row(
        ["-m", *SHORT, "model=mynet", "seed=a,b", f"model.api_key=[{CANARY}-list]", f"model.token.x={CANARY}"],
        1,
        [],
        folder="secrets",
    ),
    "sweep": Row(["-m", *SHORT, "model=mlp,nosuch", "optimizer.lr=1e-9,1e-3,-1"], 1, ["jobs failed"], folder="sweep"),
    "sweep of moods": Row(
        ["-m", *SHORT, "model=mynet", "model.mood=exits,raises,breaks,well"],
        1,
        ["3 of 4 jobs failed"],
        OWN,
        folder="moods",
    ),
    "sweep that works": Row(
        [
            "-m",
            *SHORT,
            "model=mlp",
            "optimizer.lr=1e-9,1e-3",
            "early_stopping.monitor=valid/accuracy",
            "hydra.sweep.dir=a b=c",
        ],
        0,
        [],
        folder="works",
    ),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """The folder of all rows, and what came of each."""
    folder = tmp_path_factory.mktemp("rows")
    return folder, run_rows(ROWS, folder)


@pytest.mark.parametrize("name", ROWS)
def test_exit_code(name: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    outcome = rows[1][name]
    assert outcome.code == ROWS[name].code, outcome.err
    for text in ROWS[name].says:
        assert text in outcome.err
    assert bool(outcome.err) == (outcome.code != 0), outcome.err


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_paths_are_taken_as_they_are(odd: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    folder = rows[0] / "odd"
    trained, evaluated = (json.loads((folder / where / odd / "summary.json").read_text()) for where in ("out", "of"))
    assert (trained["task"], evaluated["task"]) == ("train", "evaluate")
    assert trained["metrics"] == evaluated["metrics"]


def test_a_run_starts_from_the_weights_named(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """init_from leaves its source as it was, and the steps begin anew."""
    folder = rows[0] / "odd"
    assert json.loads((folder / "from" / "summary.json").read_text())["train"]["steps"] == 6
    assert "is finished after" in rows[1]["resume"].out


def test_latest_is_the_newest_run_that_trains(rows: tuple[Path, dict[str, Outcome]]) -> None:
    folder = rows[0] / "latest"
    assert (folder / "outputs" / "latest").resolve() == folder / "second"
    evaluations = [path for path in folder.glob("outputs/*/*") if (path / "summary.json").is_file()]
    assert len(evaluations) == 1, "an evaluation has its own directory, and is not the latest"


def test_a_checkpoint_of_an_own_network_needs_trust(rows: tuple[Path, dict[str, Outcome]]) -> None:
    err = rows[1]["own: not trusted"].err
    assert "model._target_ is 'mynet.MyNet'" in err
    assert "trust=[mynet]" in err
    assert "model=" in err


def test_a_refusal_leaves_nothing_and_an_evaluation_its_own_directory(rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert rows[1]["own: not trusted"].created == []
    assert rows[1]["own: resumed, not trusted"].created == []
    trained = (rows[0] / "own" / "outputs" / "latest").resolve().relative_to(rows[0] / "own")
    for name in ("own: trusted", "own: named"):
        created = rows[1][name].created
        assert created
        assert not [path for path in created if Path(path).is_relative_to(trained)]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_of_a_run_or_a_sweep_holds_a_secret(rows: tuple[Path, dict[str, Outcome]]) -> None:
    outputs = rows[0] / "secrets" / "outputs"
    files = files_below(outputs)
    names = {path.name for path in files}
    expected = {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "status.json",
        "run.log",
        "summary.json",
        "model.onnx",
    }
    assert expected | {"sweep.csv", "sweep.json", "verification.json", "manifest.json", "metrics.jsonl"} <= names
    assert any(path.suffix == ".ckpt" for path in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
        assert CANARY not in str(path)
    # Negative control: what is no secret is found by the same search, in the plain files and in the checkpoints.
    holding = {path.name for path in files if b"FINCH" in path.read_bytes()}
    assert "config.yaml" in holding
    assert any(name.endswith(".ckpt") for name in holding)
    for name in ("secrets", "secrets swept"):
        assert CANARY not in rows[1][name].out + rows[1][name].err


def test_secrets_are_redacted_and_not_dropped(rows: tuple[Path, dict[str, Outcome]]) -> None:
    (run,) = {path.parent.parent for path in (rows[0] / "secrets" / "outputs").glob("20*/*/exports/onnx")}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["api_key"] == "***"
    assert config["model"]["logins"] == {"db_token": "***"}
    assert config["model"]["mood"] == "FINCH"


def sweep_folder(folder: Path) -> Path:
    (path,) = folder.glob("outputs/multirun/*/*")
    return path


def read_sweep(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_runs_what_it_can_and_ranks_it(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """Six jobs: four are wrong (a network that there is not, a negative rate), and the better rate comes first."""
    folder = sweep_folder(rows[0] / "sweep")
    table = read_sweep(folder)
    assert [row["job"] for row in table] == ["1", "0", "2", "3", "4", "5"]
    assert [row["exit_code"] for row in table] == ["0", "0", "2", "2", "2", "2"]
    assert [row["state"] for row in table] == ["finished"] * 2 + ["failed"] * 4
    assert [(row["model"], row["optimizer.lr"]) for row in table[:3]] == [
        ("mlp", "0.001"),
        ("mlp", "1e-09"),
        ("mlp", "-1"),
    ]
    losses = [float(row["valid/loss"]) for row in table[:2]]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]
    assert "optimizer.lr is -1" in table[2]["reason"]
    assert "model=nosuch is not an option" in table[3]["reason"]
    plain = json.loads((folder / "sweep.json").read_text())
    assert [str(job["number"]) for job in plain] == [row["job"] for row in table]
    assert plain[0]["metrics"]["valid/loss"] == losses[0]
    jobs = sorted(path for path in folder.iterdir() if path.is_dir())
    assert [int(path.name.partition("_")[0]) for path in jobs] == list(range(6))
    assert not [path for path in jobs if "=" in path.name or " " in path.name]
    assert {json.loads((path / "status.json").read_text())["state"] for path in jobs} == {"finished", "failed"}
    assert "nnrun: job 2: optimizer.lr is -1" in rows[1]["sweep"].err


def test_a_job_that_raises_or_exits_stops_no_other(rows: tuple[Path, dict[str, Outcome]]) -> None:
    table = read_sweep(sweep_folder(rows[0] / "moods"))
    codes = {row["model.mood"]: row["exit_code"] for row in table}
    assert codes == {"well": "0", "exits": "70", "raises": "70", "breaks": "2"}
    assert table[0]["model.mood"] == "well"
    reasons = {row["model.mood"]: row["reason"] for row in table}
    assert reasons["raises"] == "RuntimeError: in the first step"


def test_a_sweep_ranks_by_what_early_stopping_watches(rows: tuple[Path, dict[str, Outcome]]) -> None:
    table = read_sweep(rows[0] / "works" / "a b=c")
    accuracies = [float(row["valid/accuracy"]) for row in table]
    assert accuracies == sorted(accuracies, reverse=True)
    assert table[0]["optimizer.lr"] == "0.001"


# --- real processes ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(words: list[str], folder: Path, stdout: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A run under way in a process of its own, ended at the latest with the block."""
    process = subprocess.Popen(
        [*NNRUN, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_of(process: subprocess.Popen[str], folder: Path) -> Path:
    """The directory in which a process trains, once it has saved a checkpoint there."""
    while process.poll() is None:
        for status in folder.glob("outputs/*/*/status.json"):
            is_its_own = json.loads(status.read_text())["pid"] == process.pid
            if is_its_own and (status.parent / "checkpoints" / "manifest.json").is_file():
                return status.parent
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


@dataclass(frozen=True)
class Stopped:
    """A run that was stopped: its directory and its status then, what it left behind, and what resuming it said."""

    folder: Path
    run: Path
    status: dict[str, object]
    code: int
    err: str
    resumed: Outcome | None


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stopped]:
    """Three runs started at once: one gets SIGINT on a narrow terminal, one SIGTERM, one a closed pipe; two go on."""
    folder = tmp_path_factory.mktemp("stopped")
    write_files(folder, OWN)
    words = ["model=mynet", *SHORT[1:4], "data.batch_size=64", "early_stopping=none", "trainer.epochs=100"]
    primary, secondary = pty.openpty()
    with (
        started(words, folder, secondary, NAP_SECONDS="0.05", COLUMNS="40", TERM="xterm") as interrupted,
        started(words, folder, subprocess.DEVNULL, NAP_SECONDS="0.05") as terminated,
        started(words, folder, subprocess.PIPE, NAP_SECONDS="0.05") as piped,
    ):
        os.close(secondary)
        threading.Thread(target=drain, args=(primary,), daemon=True).start()
        processes = {"SIGINT": interrupted, "SIGTERM": terminated, "closed pipe": piped}
        runs = {name: run_of(process, folder) for name, process in processes.items()}
        interrupted.send_signal(signal.SIGINT)
        terminated.send_signal(signal.SIGTERM)
        assert piped.stdout is not None
        piped.stdout.close()
        errs = {name: process.stderr.read() for name, process in processes.items() if process.stderr is not None}
        codes = {name: process.wait() for name, process in processes.items()}
    statuses = {name: json.loads((run / "status.json").read_text()) for name, run in runs.items()}
    resumed = {name: run_here([f"resume={runs[name]}", "trust=[mynet]"], folder) for name in ("SIGINT", "SIGTERM")}
    return {
        name: Stopped(folder, runs[name], statuses[name], codes[name], errs[name], resumed.get(name)) for name in runs
    }


def drain(descriptor: int) -> None:
    """Read what a terminal is sent, until it is closed."""
    try:
        while os.read(descriptor, 4096):
            pass
    except OSError:
        os.close(descriptor)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_says_how_to_go_on(name: str, code: int, stopped: dict[str, Stopped]) -> None:
    it = stopped[name]
    assert it.code == code
    (line,) = it.err.splitlines()
    assert line.startswith("nnrun: stopped at step ")
    assert f"nnrun resume={it.run.relative_to(it.folder)}" in line
    assert (it.status["state"], it.status["exit_code"]) == ("interrupted", code)
    assert it.resumed is not None
    assert (it.resumed.code, it.resumed.err) == (0, "")
    assert "going on from step" in it.resumed.out
    summary = json.loads((it.run / "summary.json").read_text())
    assert (summary["state"], summary["train"]["epochs"], summary["train"]["steps"]) == ("finished", 100, 300)
    assert json.loads((it.run / "status.json").read_text())["state"] == "finished"
    assert "\x1b" not in (it.run / "run.log").read_text(), "colours, or a bar, in the log"


def test_runs_started_at_once_have_their_own_directories(stopped: dict[str, Stopped]) -> None:
    runs = {it.run for it in stopped.values()}
    assert len(runs) == 3
    assert (stopped["SIGINT"].folder / "outputs" / "latest").resolve() in {run.resolve() for run in runs}


def test_a_closed_pipe_is_no_bug(stopped: dict[str, Stopped]) -> None:
    it = stopped["closed pipe"]
    assert it.code == 5
    assert it.err.startswith("nnrun: standard output was closed")
    assert len(it.err.splitlines()) == 1, "no traceback, no 'Exception ignored'"
    assert (it.status["state"], it.status["exit_code"]) == ("failed", 5)


class Terminal(io.StringIO):
    """What a terminal would be sent."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["1", "40", "200"])
def test_a_terminal_of_any_width_is_wide_enough(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(Terminal()) as terminal:
        assert main([*SHORT[:-1], "model=mlp", "trainer.progress=true"]) == 0
    assert "\x1b[" in terminal.getvalue(), "colours, and a bar"
    assert "\x1b" not in (tmp_path / "outputs" / "latest" / "run.log").read_text()


# --- imports ----------------------------------------------------------------------------------------------------------


def test_a_run_imports_only_what_it_needs(tmp_path: Path) -> None:
    code = f"""
import json, sys
from nnrun.cli import main
tops = lambda: sorted({{name.partition(".")[0] for name in sys.modules}})
words = {list(SHORT)!r} + ["model=mlp"]
assert main(words) == 0
lean = tops()
assert main([*words, "export=onnx"]) == 0
print(json.dumps([lean, tops()]))
"""
    lean, exporting = json.loads(python(code, tmp_path).splitlines()[-1])
    assert {"torch", "hydra", "rich"} <= set(lean)
    heavy = {
        "torchvision",
        "torchmetrics",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "scipy",
        "sklearn",
        "matplotlib",
        "lightning",
    }
    assert not heavy & set(lean)
    assert {"onnx", "onnxruntime"} <= set(exporting), "the negative control: an export does import them"

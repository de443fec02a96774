"""`nnrun.run`: what the command does, in somebody's own process, which is left as it was."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import nnrun
from nnrun.api import ArtifactError, ConfigError, InterruptedRun, NnrunError, ResourceError
from support.command_line import OWN, SHORT, environment, write_files
from support.command_line import nnrun as command
from support.small_runs import WORDS, assert_same_bits, status, stop_at

pytestmark = pytest.mark.usefixtures("warm_python")

# Everything of a process that a run could change, as a script sees it.
STATE = """
import logging, os, random, signal, subprocess, sys, threading, warnings
import numpy, torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer

def precisions():
    backends = torch.backends
    for part in (backends, backends.mkldnn, backends.mkldnn.matmul, backends.cudnn.conv, backends.cuda.matmul):
        yield part.fp32_precision

def children():
    done = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("ps ")]

def state():
    named = [logging.getLogger(name) for name in ("", "nnrun", "torch", "torch.onnx", "torch.utils.cpp_extension")]
    return {
        "signals": {number: signal.getsignal(number) for number in signal.Signals},
        "wakeup": signal.set_wakeup_fd(-1),
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "threads": {thread.name for thread in threading.enumerate()},
        "children": children(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "words": (list(sys.argv), sys.stdout, sys.stderr, sys.getrecursionlimit()),
        "warnings": (list(warnings.filters), warnings.showwarning, warnings.formatwarning),
        "logging": [(it.level, list(it.handlers), it.propagate, it.disabled) for it in named],
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg, VersionBase.instance().version_base),
        "resolvers": dict(BaseContainer._resolvers),
        "random": random.getstate(),
        "numpy": [str(part) for part in numpy.random.get_state()],
        "torch's draws": torch.get_rng_state().tolist(),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "determinism": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        "precision": (torch.get_float32_matmul_precision(), *precisions()),
        "denormals": sys.float_info.min / 2,
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "defaults": (torch.get_default_dtype(), torch.get_default_device()),
    }

def changed(before):
    after = state()
    return {name: (str(before[name])[:300], str(after[name])[:300]) for name in before if before[name] != after[name]}
"""
# A program that has set all of it, and what runs in it.
ODD_PROGRAM = """
import faulthandler, pathlib, json
faulthandler.register(signal.SIGUSR1)
signal.signal(signal.SIGUSR2, lambda *_: None)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
random.seed(1), numpy.random.seed(2), torch.manual_seed(3)
torch.set_num_threads(2)
torch.set_float32_matmul_precision("medium")
torch.set_flush_denormal(True)
torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True, warn_only=True)
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
warnings.simplefilter("error", RuntimeWarning)
torch.set_grad_enabled(False)
import nnrun

with torch.autocast("cpu", torch.bfloat16):
    before = state()
    for words in json.loads(sys.argv[1]):
        nnrun.run(words, quiet=True)
        print(json.dumps(changed(before)), flush=True)
os.kill(os.getpid(), signal.SIGUSR1)  # faulthandler still answers it: it does not end the process
"""


def script(source: str, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program from a file that has no `if __name__` guard."""
    path = folder / "program.py"
    path.write_text(source)
    more = {"OMP_NUM_THREADS": "2"} | more
    return subprocess.run(
        [sys.executable, str(path), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(**more),
        check=False,
    )


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_summary_has_the_fields_of_its_file() -> None:
    summary = nnrun.run([*SHORT, "model=mlp", "export=onnx"], quiet=True)
    read = json.loads((Path(summary.run) / "summary.json").read_text())
    assert read.pop("schema") == summary.schema == 1
    assert read == {name: getattr(summary, name) for name in read}
    assert summary.task == "train" and summary.state == "finished"
    assert summary.metrics["test/accuracy"] == read["metrics"]["test/accuracy"]
    assert summary.artifacts["onnx"]["ok"] is True


def test_each_task_gives_its_summary(tmp_path: Path) -> None:
    run = nnrun.run([*SHORT, "model=mlp"], quiet=True).run
    evaluated = nnrun.run([f"ckpt={run}"], quiet=True)
    assert (evaluated.task, evaluated.metrics) == (
        "evaluate",
        nnrun.run(f"ckpt={run} data.limit=200", quiet=True).metrics,
    )
    assert nnrun.run(["task=inspect", "model=mlp"], quiet=True).metrics["model/parameters"] > 0
    with pytest.raises(ConfigError, match=r"task=doctor has no summary to return; use the command nnrun"):
        nnrun.run(["task=doctor"])


def test_runs_of_one_process_have_the_bits_of_commands(tmp_path: Path) -> None:
    """Negative control: the run between them, whose seed and network are others, has other bits."""
    dropout = (*WORDS, "model.dropout=0.5")
    assert command([*dropout, "hydra.run.dir=command"], tmp_path).returncode == 0
    for name, more in (("first", ()), ("between", ("seed=1", "model=cnn")), ("second", ())):
        words = [word for word in (*dropout, *more) if not (more and word == "model=mlp")]
        nnrun.run([*words, f"hydra.run.dir={name}"], quiet=True)
    for name in ("first", "second"):
        assert_same_bits(tmp_path / "command", tmp_path / name)
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "command", tmp_path / "between")


def test_a_run_leaves_the_process_as_it_was_and_finds_it_as_a_command_does(tmp_path: Path) -> None:
    """Among what was set: bfloat16 for products, doubles by default, no gradients: the bits are those of a command."""
    words = [*WORDS, "export=[onnx,torchscript]", "hydra.run.dir=mine"]
    jobs = [words, [*SHORT, "model=mlp", "trainer.deterministic=true"], ["task=inspect", "model=cnn"]]
    done = script(STATE + ODD_PROGRAM, tmp_path, json.dumps(jobs))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["{}"] * 3
    assert "Current thread" in done.stderr, "what faulthandler writes"
    assert command([*words[:-1], "hydra.run.dir=command"], tmp_path, OMP_NUM_THREADS="2").returncode == 0
    assert_same_bits(tmp_path / "command", tmp_path / "mine")


def test_what_a_run_sets_would_be_seen(tmp_path: Path) -> None:
    """Negative control of the state that is compared: the command itself, called as a function, changes it."""
    source = STATE + "from nnrun.cli import main\nbefore = state()\nmain(sys.argv[1:])\nprint(*changed(before))"
    done = script(source, tmp_path, *SHORT, "model=mlp", "trainer.deterministic=true")
    found = done.stdout.splitlines()[-1]
    for name in ("environment", "warnings", "logging", "hydra", "determinism", "torch's draws"):
        assert name in found


def test_it_works_in_a_thread_where_no_signal_is_touched() -> None:
    before, summaries = {number: signal.getsignal(number) for number in signal.Signals}, []
    seen = []

    def work() -> None:
        summaries.append(nnrun.run([*SHORT, "model=mlp"], quiet=True))
        seen.append({number: signal.getsignal(number) for number in signal.Signals})

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [before, before]
    first, second = summaries
    assert first.metrics == second.metrics, "one waits for the other: both draw from the same generators"
    assert first.run != second.run


def test_it_works_inside_a_running_event_loop() -> None:
    """As in a notebook, whose cells run in one."""

    async def cell() -> str:
        await asyncio.sleep(0)
        return nnrun.run([*SHORT, "model=mlp"], quiet=True).state

    assert asyncio.run(cell()) == "finished"


def test_it_works_inside_of_a_hydra_app_whose_config_stays_its_own(tmp_path: Path) -> None:
    source = """
import hydra, nnrun
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("twice", lambda x: 2 * x)

@hydra.main(version_base="1.1", config_path=None)
def app(config):
    before = HydraConfig.get(), hydra.core.global_hydra.GlobalHydra.instance().hydra, hydra.version.getbase()
    print(nnrun.compose(["optimizer.lr=1e-2"])["optimizer"]["lr"], flush=True)
    print(nnrun.run(WORDS, quiet=True).state, flush=True)
    after = HydraConfig.get(), hydra.core.global_hydra.GlobalHydra.instance().hydra, hydra.version.getbase()
    assert [id(part) for part in before] == [id(part) for part in after]
    print(OmegaConf.create({"a": "${twice:3}"}).a, HydraConfig.get().job.name)

app()
""".replace("WORDS", repr([*SHORT, "model=mlp"]))
    done = script(source, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0.01", "finished", "6 program"]


@pytest.mark.parametrize(
    ("words", "kind", "code", "says"),
    [
        (["modle=cnn", "optimizer.lr=-1"], ConfigError, 2, r"modle is not a setting.*\noptimizer.lr is -1"),
        (["-m", "seed=0,1"], ConfigError, 2, r"call nnrun\.run for each of its jobs, or use nnrun -m$"),
        (["--cfg", "job"], ConfigError, 2, r"^--cfg only prints; nnrun\.compose returns the config$"),
        (["--help"], ConfigError, 2, r"^--help only prints; use the command nnrun$"),
        (["--nonsense"], ConfigError, 2, r"^--nonsense is not a flag"),
        ([{"model": "cnn"}], ConfigError, 2, r"is not a string or a path; write \['model=cnn'"),
        (["ckpt=nowhere"], ArtifactError, 4, "nowhere"),
        (["trainer.device=cuda:9"], ResourceError, 5, r"this machine has .* CUDA device"),
        (["model=mynet", "model.mood=exits"], ConfigError, 2, r"exits the process: SystemExit\(0\)"),
        (
            ["model=mynet", "model.mood=breaks", "model.api_key=verysecret"],
            ConfigError,
            2,
            r"ValueError: no, not with '\*",
        ),
    ],
)
def test_what_is_wrong_is_raised_and_not_printed(
    words: list[str], kind: type[NnrunError], code: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_files(Path(), OWN)
    with pytest.raises(kind, match=re.compile(says, re.DOTALL)) as caught:
        nnrun.run([*words, *(SHORT if "model=mynet" in words else ())], quiet=True)
    assert caught.value.exit_code == code
    assert type(caught.value) is kind
    assert "verysecret" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_saves_and_is_a_keyboard_interrupt(tmp_path: Path) -> None:
    nnrun.run([*WORDS, "hydra.run.dir=whole"], quiet=True)
    with (
        stop_at(12),
        pytest.raises(KeyboardInterrupt, match=r"checkpoint saved; resume with: nnrun resume=run$") as caught,
    ):
        nnrun.run([*WORDS, "hydra.run.dir=run"], quiet=True)
    assert isinstance(caught.value, InterruptedRun) and caught.value.exit_code == 143
    assert status(tmp_path / "run")["state"] == "interrupted"
    assert nnrun.run(["resume=run"], quiet=True).state == "finished"
    assert_same_bits(tmp_path / "whole", tmp_path / "run")


def test_ctrl_c_in_a_program_stops_the_run_and_its_own_answer_is_back(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    source = f"""
import signal, sys
import nnrun
signal.signal(signal.SIGTERM, lambda *_: print("my own answer", flush=True))
try:
    nnrun.run({[*SHORT, "model=mynet", "trainer=default", "hydra.run.dir=run"]!r})
except KeyboardInterrupt as stop:
    print("stopped:", stop, flush=True)
try:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, flush=True)
"""
    (tmp_path / "program.py").write_text(source)
    running = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(NAP_SECONDS="0.05"),
    )
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line.strip())
        if line.startswith("epoch "):
            running.send_signal(signal.SIGINT)
            break
    said += [line.strip() for line in running.stdout]
    assert running.wait() == 0
    assert said[-2:] == ["my own answer", "KeyboardInterrupt"]
    assert re.fullmatch(r"stopped: stopped at step .*; resume with: nnrun resume=run 'trust=\[mynet\]'", said[-3])


def test_a_program_without_a_guard_is_not_run_again_by_the_processes_of_a_run(tmp_path: Path) -> None:
    """Not by those that read data, however they start (spawned, as on a Mac), nor by those of a proof."""
    write_files(
        tmp_path,
        {
            "conf/data/mine.yaml": "# Mine.\ndefaults:\n  - _base\nname: mine\ndataset:\n  _target_: mine.Mine\n",
            "mine.py": "import torch\n\nclass Mine:\n    def __init__(self, train=True):\n        self.n = 200\n"
            "    def __len__(self):\n        return self.n\n    def __getitem__(self, i):\n"
            "        return torch.full((1, 8, 8), i, dtype=torch.uint8), i % 3\n",
        },
    )
    source = f"""
import multiprocessing
with open("times", "a") as file:
    file.write("x")
spawn = multiprocessing.get_context("spawn")
multiprocessing.get_context = lambda name=None: spawn
import nnrun
from nnrun.core.workers import crew
served = crew._serve
words = {[*SHORT, "data=mine", "data.num_workers=2", "data.residency=stream", "export=onnx", "model=mlp"]!r}
print(nnrun.run(words, quiet=True).artifacts["onnx"]["ok"])
"""
    done = script(source, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
    assert (tmp_path / "times").read_text() == "x"


def test_it_works_in_python_c(tmp_path: Path) -> None:
    source = f"import nnrun; print(nnrun.run({[*SHORT, 'model=mlp', 'export=onnx']!r}, quiet=True).state)"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "finished\n"


def test_your_own_folder_is_found_and_each_run_finds_the_code_that_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two modules of one name in two folders, as two commands find them; what was imported before is used as it is."""
    monkeypatch.delitem(sys.modules, "mynet", raising=False)  # another test's
    sizes = {}
    for name, hidden in (("one", 4), ("two", 9)):
        module = OWN["mynet.py"].replace("hidden)", f"{hidden})").replace("Linear(hidden", f"Linear({hidden}")
        write_files(tmp_path / name, {**OWN, "mynet.py": module})
        monkeypatch.chdir(tmp_path / name)
        run = nnrun.run([*SHORT, "model=mynet"], quiet=True).run
        assert "mynet" not in sys.modules and str(tmp_path / name) not in sys.path
        sizes[name] = torch.load(next(Path(run).glob("checkpoints/*.ckpt")), weights_only=True)["model"][
            "1.weight"
        ].shape[0]
    assert sizes == {"one": 4, "two": 9}
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    import mynet

    nnrun.run([*SHORT, "model=mynet"], quiet=True)
    assert sys.modules["mynet"] is mynet


def test_a_class_of_the_program_itself_is_built_and_trusted_by_its_name(tmp_path: Path) -> None:
    """As those of a notebook's cells are."""
    yaml = OWN["conf/model/mynet.yaml"].replace("mynet.MyNet", "__main__.MyNet")
    write_files(tmp_path, {"conf/model/mynet.yaml": yaml})
    source = f"""{OWN["mynet.py"]}
import nnrun
run = nnrun.run({[*SHORT, "model=mynet", "export=onnx"]!r}, quiet=True)
print(run.artifacts["onnx"]["ok"], type(nnrun.load(run.run, trust=["__main__"])) is MyNet)
try:
    nnrun.load(run.run)
except nnrun.api.ArtifactError as error:
    print(error.exit_code)
"""
    done = script(source, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "4"]


def test_it_prints_what_the_command_prints_unless_it_is_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_figures(text: str) -> str:
        """Of the slowest part too only the title: which one it is depends on the machine's load."""
        return re.sub(r"[\d.,%]+|\s+", " ", re.sub(r"(?<=slowest).*", "", text))

    words = [*SHORT, "model=mlp", "hydra.run.dir=x"]
    nnrun.run(words)
    ours = capsys.readouterr()
    assert ours.err == ""
    theirs = command([*SHORT, "model=mlp", "hydra.run.dir=y"], tmp_path).stdout
    assert without_figures(ours.out) == without_figures(re.sub(r"(?<=[ =])y\b", "x", theirs))
    nnrun.run([*words[:-1], "hydra.run.dir=z"], quiet=True)
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "z" / "run.log").read_text().startswith("train mlp_digits on cpu")


def test_a_run_states_its_own_words_and_not_those_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/program.py", "--password", "verysecret"])
    run = nnrun.run([*SHORT, "model=mlp"], quiet=True).run
    assert json.loads((Path(run) / "environment.json").read_text())["command"] == ["nnrun", *SHORT, "model=mlp"]


def test_a_run_that_is_called_by_a_run_is_one_of_its_own(tmp_path: Path) -> None:
    """As a search does that trains within the network it builds; the outer one goes on as if nothing had been."""
    words = [*WORDS, "model.dropout=0.5"]
    nnrun.run([*words, "hydra.run.dir=alone"], quiet=True)
    from nnrun.components.callbacks.checkpointing import Checkpointing

    original: Callable[..., None] = Checkpointing.on_epoch_end
    inner = []

    def on_epoch_end(self: Checkpointing, *given: object) -> None:
        original(self, *given)
        if not inner:
            inner.append(None)
            nnrun.run([*SHORT, "model=cnn", "seed=5"], quiet=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpointing, "on_epoch_end", on_epoch_end)
        nnrun.run([*words, "hydra.run.dir=around"], quiet=True)
    assert inner
    assert_same_bits(tmp_path / "alone", tmp_path / "around")


def test_a_text_that_no_shell_splits_is_a_wrong_config() -> None:
    with pytest.raises(ConfigError, match="cannot be split into words as by a shell: No closing quotation"):
        nnrun.compose("model='cnn")

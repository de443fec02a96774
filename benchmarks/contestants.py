"""The contestants, and the commands that measure them."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contest import Contestant, Failed, NotMeasured, last_json_line, run_process

HERE = Path(__file__).resolve().parent
BATCH_SIZE = 64  # as in network.py, which imports torch; the driver does not
START_TIMEOUT_SECONDS = 600.0
WARMUP_STEPS = 50

TUTORIAL = "tutorial loop"
TUTORIAL_WORKERS = "tutorial loop, 2 workers"
LIGHTNING = "Lightning"
ACCELERATE = "Accelerate"
NNRUN_FP32, NNRUN_BF16 = "nnrun, fp32", "nnrun, bf16"
BARE_FP32, BARE_BF16 = "the bare step, fp32", "the bare step, bf16"

HELP = "`nnrun --help`"
CONFIG_ERROR = "a config error (`nnrun optimizer.lrr=1`)"
FIRST_STEP = "nnrun: from the command to the end of the first step"
BARE_FIRST_STEP = "a bare script: the same"
LEAN_FIRST_STEP = "a bare script without torch's compiler: the same"

MS_A_STEP, SECONDS = "ms a step", "s"


@dataclass(frozen=True)
class Plan:
    """What all contestants have in common."""

    root: Path
    steps: int
    device: str

    @property
    def warmup_steps(self) -> int:
        """Steps that are not timed: on a GPU the first ones load cuDNN, which takes as long as a thousand others."""
        return 0 if self.device == "cpu" else WARMUP_STEPS

    @property
    def timeout_seconds(self) -> float:
        """A second a step is twenty times what the slowest needs."""
        return START_TIMEOUT_SECONDS + self.steps


def speed_blocks(plan: Plan) -> list[list[Contestant]]:
    """Return the contestants that train `plan.steps` steps; those that a goal compares are in one block."""
    return [
        [_peer(plan, TUTORIAL, "tutorial"), _nnrun(plan, NNRUN_FP32, "fp32"), _bare(plan, BARE_FP32, "fp32")],
        [_nnrun(plan, NNRUN_BF16, "bf16"), _bare(plan, BARE_BF16, "bf16")],
        [_peer(plan, TUTORIAL_WORKERS, "tutorial", "--workers", "2")],
        [_peer(plan, LIGHTNING, "lightning", package="lightning")],
        [_peer(plan, ACCELERATE, "accelerate", package="accelerate")],
    ]


def startup_blocks(plan: Plan) -> list[list[Contestant]]:
    """Return the contestants whose start-up time is measured."""
    return [
        [Contestant(HELP, SECONDS, lambda: _wall_seconds(["--help"], 0))],
        [Contestant(CONFIG_ERROR, SECONDS, lambda: _wall_seconds(["optimizer.lrr=1"], 2))],
        [
            Contestant(FIRST_STEP, SECONDS, lambda: _nnrun_first_step(plan)),
            Contestant(LEAN_FIRST_STEP, SECONDS, lambda: _bare_first_step(plan, "--lean")),
            Contestant(BARE_FIRST_STEP, SECONDS, lambda: _bare_first_step(plan)),
        ],
    ]


def nnrun_arguments(root: Path, steps: int, device: str, precision: str, run_dir: Path) -> list[str]:
    """Return the overrides for a training run of `steps` steps, followed only by the evaluation."""
    return [
        "model=cnn",
        "data=mnist",
        f"data.root={root}",
        f"data.batch_size={BATCH_SIZE}",
        "optimizer=adam",
        "optimizer.lr=1e-3",
        "trainer.epochs=1000000",
        f"trainer.max_steps={steps}",
        f"trainer.device={device}",
        f"trainer.precision={precision}",
        "trainer.progress=false",
        "early_stopping=none",
        "export=none",
        f"hydra.run.dir={run_dir}",
    ]


def _peer(plan: Plan, name: str, peer: str, *options: str, package: str = "torchvision") -> Contestant:
    command = [sys.executable, str(HERE / "peers.py"), peer, *options]
    command += ["--root", str(plan.root), "--steps", str(plan.steps), "--device", plan.device]
    command += ["--warmup", str(plan.warmup_steps)]

    def measure() -> float:
        if importlib.util.find_spec(package) is None:
            raise NotMeasured(f"{package} is not installed (pip install -e '.[bench]')")
        with _empty_folder() as folder:
            row = last_json_line(run_process(command, folder, plan.timeout_seconds).stdout)
        return _ms_a_step(row, plan.steps)

    return Contestant(name, MS_A_STEP, measure)


def _bare(plan: Plan, name: str, precision: str) -> Contestant:
    return _peer(plan, name, "bare", "--precision", precision, package="torch")


def _nnrun(plan: Plan, name: str, precision: str) -> Contestant:
    def measure() -> float:
        with _empty_folder() as folder:
            run_dir = folder / "run"
            overrides = nnrun_arguments(plan.root, plan.steps, plan.device, precision, run_dir)
            program = ["-m", "nnrun"]
            if plan.warmup_steps:
                program = [str(HERE / "warm_nnrun.py"), str(plan.warmup_steps)]
            run_process([sys.executable, *program, *overrides], folder, plan.timeout_seconds)
            return _ms_a_step(_read_json(run_dir / "summary.json").get("train"), plan.steps)

    return Contestant(name, MS_A_STEP, measure)


def _nnrun_first_step(plan: Plan) -> float:
    with _empty_folder() as folder:
        run_dir = folder / "run"
        overrides = nnrun_arguments(plan.root, 1, plan.device, "fp32", run_dir)
        run_process([*_nnrun_program(), *overrides], folder, START_TIMEOUT_SECONDS)
        seconds = _read_json(run_dir / "status.json").get("first_step_seconds")
    if seconds is None:
        raise NotMeasured("status.json has no first_step_seconds")
    return float(seconds)


def _bare_first_step(plan: Plan, *options: str) -> float:
    command = [sys.executable, str(HERE / "bare_first_step.py"), *options, "--device", plan.device, "--spawned-at"]
    with _empty_folder() as folder:
        stdout = run_process([*command, repr(time.time())], folder, START_TIMEOUT_SECONDS).stdout
    return float(last_json_line(stdout)["first_step_seconds"])


def _wall_seconds(arguments: list[str], exit_code: int) -> float:
    with _empty_folder() as folder:
        return run_process([*_nnrun_program(), *arguments], folder, START_TIMEOUT_SECONDS, exit_code).wall_seconds


def _nnrun_program() -> list[str]:
    """Return what a user types: the console script beside this interpreter."""
    script = Path(sys.executable).parent / "nnrun"
    return [str(script)] if script.exists() else [sys.executable, "-m", "nnrun"]


def _ms_a_step(row: Any, steps: int) -> float:
    """Convert samples per second to milliseconds per full batch; refuse a row with another number of steps."""
    if not isinstance(row, dict) or row.get("steps") != steps or not row.get("samples_per_second"):
        raise Failed(f"expected samples_per_second of {steps} steps, got {row!r}")
    return 1000 * BATCH_SIZE / float(row["samples_per_second"])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"{path.name} cannot be read: {error}") from error
    return row if isinstance(row, dict) else {}


@contextmanager
def _empty_folder() -> Iterator[Path]:
    """Yield an empty folder to run in: no conf/ of a user's, and no outputs/ left behind."""
    with tempfile.TemporaryDirectory(prefix="nnrun-bench-") as folder:
        yield Path(folder)

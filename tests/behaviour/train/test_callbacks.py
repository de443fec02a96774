"""A user's own callback: it changes no bit that it does not want to change, and its state goes on with the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from support.command_line import OWN, Outcome, notes, run_here, write_files
from support.small_runs import STEPS, STOPS, WORDS, manifest, status, stop_at

# It looks at all that it is shown, draws random numbers, and keeps what it has seen.
MODULE = """\
import torch
from nnrun.api import Callback

class Looks(Callback):
    def __init__(self, mood="good", every=1):
        self.mood, self.every, self.steps, self.mean = mood, every, [], torch.zeros(2)

    def on_fit_start(self, state):
        self.first = state.progress.step

    def on_gradients_ready(self, state):
        torch.rand(3)
        self.mean = self.mean * 0.5 + torch.stack([p.grad.norm() for p in state.network.parameters()])[:2]

    def on_step_end(self, state):
        torch.randn(5)
        self.steps.append(state.progress.step)

    def on_validation_end(self, state, metrics):
        state.network.eval()
        with torch.no_grad():
            state.network(torch.zeros(2, 1, 28, 28))
        if self.mood == "odd":
            state.log("valid", {"loss": 1})

    def on_fit_end(self, state):
        state.log("looks", {"steps": len(self.steps), "first": self.first, "mean": self.mean.sum()})

    def state_dict(self):
        return {"steps": {1, 2}} if self.mood == "set" else {"steps": self.steps, "mean": self.mean}

    def load_state_dict(self, state):
        if self.mood == "loads":
            raise KeyError("an older state")
        self.steps, self.mean = list(state["steps"]), state["mean"]

class Plain(Callback):
    pass
"""
FILES = OWN | {
    "looks.py": MODULE,
    "conf/callback/looks.yaml": "# @package callback.looks\n_target_: looks.Looks\nmood: good\nevery: 1\n",
    "conf/callback/plain.yaml": "# @package callback.plain\n_target_: looks.Plain\n",
    "conf/callback/rows.yaml": "# @package callback.rows\n_target_: looks.Plain\n",
    **{
        f"conf/callback/{name}.yaml": f"# @package callback.{name}\n_target_: looks.Plain\n"
        for name in ("health", "watch", "profile")
    },
    "conf/callback/odd.yaml": "# @package callback.odd\n_target_: torch.nn.Linear\nin_features: 1\nout_features: 1\n",
}
BOTH = "callback=[plain,looks]"


def go(folder: Path, *words: str, run: str = "run", stop: int | None = None) -> Outcome:
    folder.mkdir(exist_ok=True)
    write_files(folder, FILES)
    begin = [] if any(word.startswith(("resume=", "ckpt=")) for word in words) else [*WORDS, f"hydra.run.dir={run}"]
    with stop_at(stop):
        return run_here([*begin, *words], folder)


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints" / manifest(run)["last"], weights_only=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both callbacks that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = go(folder, BOTH)
    assert (outcome.code, outcome.err) == (0, "")
    return folder / "run"


def test_one_that_only_looks_changes_no_bit(tmp_path: Path, whole: Path) -> None:
    """Its own row apart: that is there, since it was called."""
    assert go(tmp_path).code == 0
    without, beside = rows(tmp_path / "run"), rows(whole)
    assert [row for row in beside if row["split"] != "looks"] == without
    assert [row["steps"] for row in beside if row["split"] == "looks"] == [3 * STEPS]
    ours, theirs = last(tmp_path / "run"), last(whole)
    assert ours["model"].keys() == theirs["model"].keys()
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in ours["model"])
    moments = [state["training"]["optimizer"]["state"][0]["exp_avg"] for state in (ours, theirs)]
    assert torch.equal(*moments)


def test_states_are_saved_by_the_names_in_the_config(whole: Path) -> None:
    states = last(whole)["training"]["callbacks"]
    assert sorted(states) == [
        "checkpointing",
        "early_stopping",
        "first_step",
        "looks",
        "nnrun.health",
        "plain",
        "progress",
        "rows",
    ]
    assert states["looks"]["steps"] == list(range(1, 3 * STEPS + 1))
    assert states["looks"]["mean"].shape == (2,)
    assert states["plain"] == {}


@pytest.mark.parametrize("stop", ["mid-epoch", "in a validation", "last epoch"])
def test_a_run_with_callbacks_goes_on_to_the_same_bits(stop: str, tmp_path: Path, whole: Path) -> None:
    assert go(tmp_path, BOTH, stop=STOPS[stop]).code == 143
    outcome = go(tmp_path, "resume=run", "trust=[looks]")
    assert outcome.code == 0, outcome.err
    assert "callback." not in notes(outcome)
    resumed = rows(tmp_path / "run")
    firsts = [row.pop("first") for row in resumed if row["split"] == "looks"]
    assert firsts[0] > 0
    assert resumed == [{key: value for key, value in row.items() if key != "first"} for row in rows(whole)]
    states = last(tmp_path / "run")["training"]["callbacks"], last(whole)["training"]["callbacks"]
    assert states[0]["looks"]["steps"] == states[1]["looks"]["steps"]
    assert torch.equal(states[0]["looks"]["mean"], states[1]["looks"]["mean"])


def test_callbacks_join_and_leave_a_resumed_run_and_it_says_so(tmp_path: Path, whole: Path) -> None:
    assert go(tmp_path, "callback=looks", stop=STOPS["mid-epoch"]).code == 143
    step = last(tmp_path / "run")["training"]["progress"]["step"]
    outcome = go(tmp_path, "resume=run", "callback=plain")
    assert outcome.code == 0, outcome.err
    assert f"callback.plain is new: it starts at step {step} without a saved state" in notes(outcome)
    assert f"callback.looks is removed from step {step} on; its state is discarded" in notes(outcome)
    states = last(tmp_path / "run")["training"]["callbacks"]
    assert ("plain" in states, "looks" in states) == (True, False)
    changes = status(tmp_path / "run")["resumed"][0]["changes"]
    assert sorted(line.partition(":")[0] for line in changes) == ["callback.looks", "callback.plain"]
    assert rows(tmp_path / "run") == [row for row in rows(whole) if row["split"] != "looks"]


def test_a_setting_of_one_that_stays_cannot_change(tmp_path: Path) -> None:
    assert go(tmp_path, "callback=looks", stop=STOPS["mid-epoch"]).code == 143
    outcome = go(tmp_path, "resume=run", "trust=[looks]", "callback.looks.every=2")
    assert outcome.code == 2
    assert "callback.looks.every: 1 -> 2" in outcome.err
    assert go(tmp_path, "resume=run", "trust=[looks]", "callback.looks.every=1").code == 0, "the negative control"


def test_a_callback_of_a_checkpoint_is_a_strangers_until_it_is_trusted(tmp_path: Path) -> None:
    """To evaluate the run nothing of it is called for."""
    assert go(tmp_path, "callback=looks", stop=STOPS["mid-epoch"]).code == 143
    outcome = go(tmp_path, "resume=run")
    assert outcome.code == 4
    assert "the checkpoint's callback.looks._target_ is 'looks.Looks'" in outcome.err
    outcome = go(tmp_path, "ckpt=run", "hydra.run.dir=evaluated")
    assert outcome.code == 0, outcome.err


def test_a_state_that_it_cannot_take_up_is_its_own_failure(tmp_path: Path) -> None:
    assert go(tmp_path, "callback=looks", "callback.looks.mood=loads", stop=STOPS["mid-epoch"]).code == 143
    outcome = go(tmp_path, "resume=run", "trust=[looks]")
    assert outcome.code == 2
    assert "callback.looks fails with KeyError: 'an older state' (" in outcome.err
    assert "looks.py, line " in outcome.err


def test_the_names_of_later_callbacks_of_ours_stay_free(tmp_path: Path) -> None:
    """A run of an earlier version may have one of its own under them, and goes on."""
    word = "callback=[health,watch,profile]"
    ours = ("trainer.watch=weights", "trainer.watch_every_steps=2")
    assert go(tmp_path, word, *ours, stop=STOPS["mid-epoch"]).code == 143
    assert go(tmp_path, "resume=run", "trust=[looks]").code == 0
    states = last(tmp_path / "run")["training"]["callbacks"]
    assert {"health", "watch", "profile", "nnrun.health", "nnrun.watch"} <= states.keys()


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a name of ours": (
        ("callback=rows",),
        "rows, first_step, early_stopping, progress and checkpointing are reserved names",
    ),
    "no callback": (("callback=odd",), "callback.odd._target_=torch.nn.Linear is not allowed: it is not a Callback"),
    "no option": (("callback=look",), "callback=look is not an option; did you mean 'looks'?"),
    "a typo": (("callback=looks", "callback.looks.evry=2"), "callback.looks.evry is not a"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_before_there_is_a_run(name: str, tmp_path: Path) -> None:
    words, says = REFUSED[name]
    outcome = go(tmp_path, *words)
    assert outcome.code == 2
    assert says in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_state_that_no_checkpoint_holds_is_refused_before_training(tmp_path: Path) -> None:
    outcome = go(tmp_path, "callback=looks", "callback.looks.mood=set")
    assert outcome.code == 2
    assert "callback.looks: its state_dict()['steps'] is a set; a checkpoint holds tensors" in outcome.err
    assert rows_if_any(tmp_path / "run") == []


def rows_if_any(run: Path) -> list[dict]:
    return rows(run) if (run / "metrics.jsonl").exists() else []


def test_a_row_of_its_own_does_not_pass_for_one_of_ours(tmp_path: Path) -> None:
    outcome = go(tmp_path, "callback=looks", "callback.looks.mood=odd")
    assert outcome.code == 2
    assert "callback.looks fails with ValueError: state.log: 'valid' is reserved" in outcome.err


@pytest.mark.parametrize("task", ["evaluate", "inspect"])
def test_beside_another_task_it_is_said_to_have_no_effect(task: str, tmp_path: Path, whole: Path) -> None:
    words = [f"ckpt={whole}", f"task={task}", "callback=looks", "hydra.run.dir=other"]
    outcome = go(tmp_path, *words)
    assert outcome.code == 0, outcome.err
    assert "note: callback has no effect with " in outcome.out

"""`task=inspect`: open the data, build the network, and measure one step; nothing is trained or kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from nnrun.compose import Composed
from nnrun.core.loop import backward, update
from nnrun.core.precision import Precision
from nnrun.core.randomness import seed_step
from nnrun.core.seams import Batch, Problem
from nnrun.errors import ArtifactError
from nnrun.files import write_json
from nnrun.inspection.gradients import Proof, prove
from nnrun.inspection.model import Cost, Layer, Memory, measure_step, memory_of
from nnrun.inspection.overfit import Overfit, overfit
from nnrun.inspection.table import findings, layer_table, some_of
from nnrun.loading import load_trained
from nnrun.opened import Opened, open_data
from nnrun.prepare import Job, prepare
from nnrun.problems.classification import Classification
from nnrun.report.console import Console
from nnrun.report.summary import Summary
from nnrun.session import Session, open_session
from nnrun.training import Training, make_training, start_from


@dataclass(frozen=True)
class Findings:
    """What was found of a network; the order is that of inspect.json."""

    batch_size: int
    cost: Cost
    memory: Memory
    proof: Proof
    overfit: Overfit | None

    @property
    def ok(self) -> bool:
        """Whether all that was to be proven is."""
        return self.proof.ok and (self.overfit is None or self.overfit.reached)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        root = self.cost.root
        return {
            "ok": self.ok,
            "batch_size": self.batch_size,
            "parameters": {
                "total": root.parameters,
                "trainable": root.trainable,
                "frozen": root.parameters - root.trainable,
            },
            # Of the whole batch; a multiplication with its addition is two.
            "flops": {"forward": self.cost.forward_flops, "backward": self.cost.backward_flops},
            "memory_bytes": {**asdict(self.memory), "total": self.memory.total},
            "gradients": self.proof.to_json(),
            "overfit": self.overfit.to_json() if self.overfit else None,
            "layers": _layers(root),
        }


def inspect(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Inspect what a config names, in a directory of its own; return the summary.

    Raises ArtifactError where the proof fails, besides what a run raises.
    """
    job = prepare(without_the_rest(composed))
    if job.precision.scales_gradients:
        # The scaled gradients of a first step overflow as a matter of course.
        job = replace(job, precision=Precision("fp32", "a single step in fp16 proves nothing"))
    console = Console()
    with open_session(job, words, directory, console) as session:
        data = open_data(job.settings.data, trains=True)
        found = examine(job, data, session)
        write_json(session.out.path / "inspect.json", found.to_json())
        summary = summarize(job, found, session)
        write_json(session.out.path / "summary.json", summary.to_json())
        show(job, found, summary, console)
        if not found.ok:
            raise ArtifactError(*_complaints(found, session.out.path))
    return summary


def without_the_rest(composed: Composed) -> Composed:
    """Return the config without what only a whole run uses; the learning rate is then the optimizer's own."""
    config = composed.config.copy()
    config.scheduler, config.export, config.logger = None, {}, {}
    config.trainer.compile = False
    return replace(composed, config=config)


def examine(job: Job, data: Opened, session: Session) -> Findings:
    """Build what a run would train, and measure its first step."""
    problem = Classification(job.loss(data.class_counts), data.class_names)
    weights = None
    if job.settings.ckpt is not None:
        trained = load_trained(job, data, session.out.path)
        data, weights = replace(data, preprocessing=trained.preprocessing), trained.network.state_dict()
        for note in trained.notes:
            session.console.note(note)
    training = make_training(job, data, problem)
    if weights is not None:
        training.state.network.load_state_dict(weights)
    start_from(job, training.state, session.console, len(data.class_names))
    batch = next(iter(training.train.epoch(0)))
    start = copy.deepcopy((training.state.network.state_dict(), training.state.optimizer.state_dict()))
    cost, memory, proof = measure(training, problem, batch)
    learned = None
    if job.settings.inspect.overfit:
        training.state.network.load_state_dict(start[0])
        training.state.optimizer.load_state_dict(start[1])
        plan = replace(training.plan, total_steps=job.settings.inspect.steps)
        learned = overfit(training.state, problem, batch, plan, session.stop.poll)
    return Findings(training.train.batch_size, cost, memory, proof, learned)


def measure(training: Training, problem: Problem, batch: Batch) -> tuple[Cost, Memory, Proof]:
    """Do the first step of a training, draw by draw, and judge it. The network is changed by an update or two."""
    state = training.state
    losses: list[Tensor] = []
    state.set_training()

    def step() -> None:
        seed_step(state.device, state.seed, 0, len(losses))
        losses.append(backward(state, problem, batch, batch.num_samples))

    def step_again() -> None:
        update(state, training.plan, losses[-1])
        step()

    cost = measure_step(state.network, step, batch.inputs)
    proof = prove(state.network, losses[0].item(), step_again)
    update(state, training.plan, losses[-1])
    average = state.ema.network if state.ema else None
    memory = memory_of(state.network, state.optimizer, average, batch.inputs, cost.activation_bytes)
    return cost, memory, proof


def summarize(job: Job, found: Findings, session: Session) -> Summary:
    """Return the summary: the figures of the network as its metrics."""
    root = found.cost.root
    return Summary(
        task=job.task,
        state="finished" if found.ok else "failed",
        run=str(session.out.path),
        metrics={
            "model/parameters": root.parameters,
            "model/trainable_parameters": root.trainable,
            "model/forward_flops": found.cost.forward_flops / found.batch_size,
            "model/step_bytes": found.memory.total,
        },
        monitor=job.monitor,
        mode=job.mode,
        best=None,
        train={},
        details={},
        wall_seconds=session.out.seconds(),
    )


def show(job: Job, found: Findings, summary: Summary, console: Console) -> None:
    """Print the tree of layers, and what was found."""
    table, deepest = layer_table(found.cost.root, found.batch_size, job.settings.inspect.depth)
    console.table(table)
    if deepest is not None:
        console.say(f"deeper layers are not shown; inspect.depth={deepest} shows them all", style="dim")
    console.say("")
    console.table(findings(found.cost, found.memory, found.proof, found.overfit, found.batch_size))
    console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")


def _complaints(found: Findings, run: Path) -> list[str]:
    """Return what is wrong, a line each."""
    proof = found.proof
    lines = [
        text.format(some_of(names))
        for names, text in (
            (proof.missing, "no gradient reaches {}: the loss does not depend on what it computes"),
            (proof.not_finite, "the gradient of {} is NaN or infinite"),
            (
                proof.zero,
                "the gradient of {} is exactly zero, also after an update: it, or what comes after it, is dead",
            ),
        )
        if names
    ]
    learned = found.overfit
    if learned is not None and not learned.reached:
        lines.append(
            f"the network does not know one batch by heart after {learned.steps} updates (loss "
            f"{learned.first_loss:.4f} to {learned.last_loss:.4f}); try another optimizer.lr, more inspect.steps, or "
            "look at the targets"
        )
    return [*lines, f"all that was found is in {run}/inspect.json"]


def _layers(layer: Layer) -> list[dict[str, Any]]:
    """Return a layer and all below it, the outer ones first."""
    own = asdict(replace(layer, children=[]))
    del own["children"]
    return [own, *(row for child in layer.children for row in _layers(child))]

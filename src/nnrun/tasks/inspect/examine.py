"""Inspect the network of a config: build what a run would train, do its first step, and judge it."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.initial_weights import start_from
from nnrun.assembly.job import Job
from nnrun.assembly.network import Trained
from nnrun.assembly.objective import make_objective
from nnrun.assembly.training import make_step, make_training
from nnrun.base.visible import few
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Preprocessing
from nnrun.core.step import Step
from nnrun.tasks.inspect.cost import Cost, Layer, StepMemory, measure_step, memory_of
from nnrun.tasks.inspect.gradients import Proof, prove
from nnrun.tasks.inspect.overfit import Overfit, overfit
from nnrun.tasks.inspect.record import InspectSettings
from nnrun.tasks.session import Session


@dataclass(frozen=True)
class NetworkReport:
    """The findings about a network. `batch` is the first one of the training, as the network receives it."""

    batch: Batch
    preprocessing: Preprocessing
    cost: Cost
    memory: StepMemory
    proof: Proof
    overfit: Overfit | None
    # Whether layers compute their activations again, which are not among the memory then.
    recomputes: bool = False

    @property
    def batch_size(self) -> int:
        """The number of samples in the batch."""
        return len(self.batch.targets)

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
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
            # For the whole batch; a multiply-add counts as two.
            "flops": {"forward": self.cost.forward_flops, "backward": self.cost.backward_flops},
            "memory_bytes": {**asdict(self.memory), "total": self.memory.total},
            "gradients": self.proof.to_json(),
            "overfit": self.overfit.to_json() if self.overfit else None,
            "layers": _layers(root),
        }

    def complaints(self) -> list[str]:
        """Return what is wrong, a line each."""
        proof, learned = self.proof, self.overfit
        texts = (
            (proof.missing, "no gradient reaches {}: the loss does not depend on what it computes"),
            (proof.not_finite, "the gradient of {} is NaN or infinite"),
            (proof.zero, "the gradient of {} is exactly zero, also after an update: it, or a layer after it, is dead"),
        )
        lines = [text.format(few(names)) for names, text in texts if names]
        if learned is not None and not learned.reached:
            lines.append(
                f"the network does not overfit one batch in {learned.steps} steps (loss "
                f"{learned.first_loss:.4f} to {learned.last_loss:.4f}); try another optimizer.lr, more inspect.steps, "
                "or look at the targets"
            )
        return lines


def _layers(layer: Layer) -> list[dict[str, Any]]:
    """Return a layer and all layers in it, the outer ones first."""
    own = asdict(replace(layer, children=[]))
    del own["children"]
    return [own, *(row for child in layer.children for row in _layers(child))]


def examine(job: Job, data: Opened, session: Session, trained: Trained | None) -> NetworkReport:
    """Build what a run would train, or take the weights of a trained network, and measure its first step."""
    objective = make_objective(job, data)
    weights = None
    if trained is not None:
        data, weights = replace(data, preprocessing=trained.preprocessing), trained.network.state_dict()
        for note in trained.notes:
            session.console.note(note)
    training = make_training(job, data, objective)
    state, train = training.state, training.train
    if weights is not None:
        state.network.load_state_dict(weights)
    start_from(job, state, session.console, data.targets)
    for note in training.notes:
        session.console.say(note)
    batch, step = next(iter(train.epoch(0))), make_step(job.settings.trainer, state, objective)
    start = copy.deepcopy((state.network.state_dict(), state.optimizer.state_dict()))
    cost, memory, proof = measure_first_step(step, batch)
    learned = None
    settings = job.settings_of(InspectSettings)
    if settings.overfit:
        state.network.load_state_dict(start[0])
        state.optimizer.load_state_dict(start[1])
        # The same samples without augmentation: mixed samples cannot be memorized exactly.
        inputs, targets = train.take(train.order(0)[0])
        plain = batch._replace(inputs=inputs, targets=targets, mixed=None)
        session.console.say(f"overfitting one batch of {plain.num_samples} in at most {settings.steps} steps")
        learned = overfit(step, plain, settings.steps, session.stop.poll)
    return NetworkReport(
        batch, data.preprocessing, cost, memory, proof, learned, bool(training.tree["trainer"]["recompute"])
    )


def measure_first_step(step: Step, batch: Batch) -> tuple[Cost, StepMemory, Proof]:
    """Do the first step of a training, with its random draws, and judge it. Changes the network by an update or two."""
    state = step.state
    losses: list[Tensor] = []
    state.set_training()

    def add_gradients() -> None:
        seed_step(state.device, state.seed, 0, len(losses))
        losses.append(step.backward(batch, batch.num_samples))

    def add_them_again() -> None:
        step.update(losses[-1])
        add_gradients()

    cost = measure_step(state.network, add_gradients, batch.inputs)
    proof = prove(state.network, losses[0].item(), add_them_again)
    step.update(losses[-1])
    average = state.ema.network if state.ema else None
    memory = memory_of(state.network, state.optimizer, average, batch.inputs, cost.activation_bytes)
    return cost, memory, proof

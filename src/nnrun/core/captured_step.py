"""A step whose work on the device is recorded once and replayed: the host launches it as one.

The host's part of an update (its number, the learning rate, seeds) stays outside. What changes from update to update is
on the device: the order of the samples and the place in it, learning rates, the average's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnrun.base.errors import NnrunError
from nnrun.base.foreign_errors import said_by
from nnrun.core.batches import SplitBatches
from nnrun.core.captured_check import Differs, Held
from nnrun.core.captured_rows import NUM_LOSSES, Notes, Rows
from nnrun.core.device_numbers import DeviceRates
from nnrun.core.randomness import host_draws, seed_step
from nnrun.core.recorder import Recorder
from nnrun.core.step import Step

# A setting of the optimizer that has changed in so many updates in a row changes in all.
_MOST_CHANGES = 3


class Facts(NamedTuple):
    """What a recording takes for constant.

    The samples in each batch of an update, whether a row of metrics follows it, and whether something is frozen.
    """

    sizes: tuple[int, ...]
    is_logged: bool
    is_frozen: bool


class CapturedStep:
    """Make updates by replaying a recording of them; the first update of each kind is made by `step` and not recorded.

    A recording is checked before it is used, against the same updates made by `step`. If it cannot be made, or differs,
    `give_up` is told why, and may raise; after that, `step` makes all updates. `begin` is called before the first
    replay. `rows` are the batches to train on.

    Numbers that a network or a loss changes on the host must not matter: not all such changes are found.
    """

    def __init__(
        self,
        step: Step,
        train: SplitBatches,
        record: Recorder,
        give_up: Callable[[str], None] = lambda why: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.rows = Rows(train)
        self._step, self._train, self._record = step, train, record
        self._give_up, self._begin = give_up, begin
        state = step.state
        self._notes = Notes(state.device)
        self._place = 0
        self._norm = torch.zeros((), device=state.device)
        self._rates = DeviceRates(state.optimizer, state.ema, state.device)
        # The loss of each batch of an update.
        self._parts: list[Tensor] = []
        self._seen: set[Facts] = set()
        self._replays: dict[Facts, list[Callable[[], None]]] = {}
        self._checked: set[Facts] = set()
        self._is_off = False
        self._num_changes = 0

    def __call__(self, batches: Iterator[Any], indices: range, num_samples: int) -> None:
        """Make an update from the next batches, those at `indices` in their epoch, with `num_samples` in total."""
        step, state = self._step, self._step.state
        step.mark("begin")
        for _ in indices:
            next(batches)
        is_frozen = state.freezing.holds(state.progress.epoch)
        facts = Facts(tuple(self.rows.num_in(index) for index in indices), state.is_logged, is_frozen)
        self._forget(self._rates.refresh())
        joined = any(callback.joins_update(state) for callback in step.callbacks)
        replays = None if joined or self._is_off else self._replays.get(facts) or self._recorded(facts, indices)
        if replays is None:
            self._make(facts, indices)
        else:
            self._replay(replays, indices)
        state.grad_norm = self._norm if step.grad_clip_norm is not None or facts.is_logged else None
        state.watch.note(self._notes.losses[self._place], state.progress.place)
        self._place = (self._place + 1) % NUM_LOSSES
        step.count()
        step.mark("optimizer")

    def _forget(self, changed: Sequence[str]) -> None:
        """Record anew if a constant of the optimizer has changed; give up if one does in every update."""
        self._num_changes = self._num_changes + 1 if changed else 0
        if changed:
            self._seen.clear()
            self._replays.clear()
        if self._num_changes == _MOST_CHANGES and not self._is_off:
            self._is_off = True
            self._give_up(f"the schedule changes the optimizer's {changed[0]} in every update")

    def _make(self, facts: Facts, indices: range, turn: int = 0) -> None:
        """Make an update without a recording; at another turn, with other draws."""
        with self._on_device():
            for number, index in enumerate(indices):
                self._seed(index + turn)
                self._part(facts, number)
        self._seen.add(facts)

    def _replay(self, replays: Sequence[Callable[[], None]], indices: range, turn: int = 0) -> None:
        """Make an update from a recording of each of its batches; at another turn, with other draws."""
        for replay, index in zip(replays, indices, strict=True):
            self._seed(index + turn)
            replay()

    def _seed(self, index: int) -> None:
        """Seed the draws of a batch."""
        state, augmenter = self._step.state, self._train.augmenter
        draws = state.world.stream(index)
        seed_step(state.device, state.seed, state.progress.epoch, draws)
        if augmenter is not None:
            augmenter.seed(state.progress.epoch, draws)

    def _part(self, facts: Facts, number: int) -> None:
        """Do the device's work for one batch of an update; after the last one also that of the update."""
        rows, samples, step = self.rows, self._train.samples, self._step
        indices = rows.placed.index_select(0, rows.at)[0]
        rows.at.add_(1)
        batch = self._train.assemble(samples.inputs(indices), samples.targets(indices), facts.sizes[number])
        step.mark("data")
        self._parts.append(step.backward(batch, sum(facts.sizes)))
        step.mark("metrics")
        if number == len(facts.sizes) - 1:
            losses, self._parts = self._parts, []
            step.apply(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
            if step.state.grad_norm is not None:
                self._norm.copy_(step.state.grad_norm)

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Let the step read its numbers from the device in the block, and keep its losses there."""
        state = self._step.state
        watch, state.watch = state.watch, self._notes  # type: ignore[assignment]
        try:
            with self._rates.used():
                yield
        finally:
            state.watch = watch
            self._parts = []

    def _recorded(self, facts: Facts, indices: range) -> list[Callable[[], None]] | None:
        """Return the recording of an update, checked; None if there is none yet, or none can be."""
        if facts not in self._seen:
            return None
        held = None
        try:
            if problem := self._rates.problem():
                raise Differs(problem)
            held = Held(self._memory(), ("place",))
            replays = self._checked_recording(facts, indices, held)
        except Exception as error:
            self._replays.clear()
            self._undo(held)
            why = str(error) if isinstance(error, Differs | NnrunError) else said_by(error)
            self._is_off = True
            self._give_up(why)
            return None
        self._replays[facts] = replays
        return replays

    def _undo(self, held: Held | None) -> None:
        """Put everything back to where it was before a recording that failed."""
        state = self._step.state
        state.optimizer.zero_grad(set_to_none=True)
        if state.scaler:
            # It remembers that the gradients were unscaled, for an update that was not made.
            state.scaler._per_optimizer_states.clear()
        if held is None:
            return
        held.restore()
        # What an update replaced, or added.
        for name in state.sums:
            state.sums[name] = held.originals.get(f"sum of {name}", state.sums[name])
        for name, buffer in list(state.network.named_buffers()):
            where, _, own = name.rpartition(".")
            state.network.get_submodule(where)._buffers[own] = held.originals.get(name, buffer)

    def _checked_recording(self, facts: Facts, indices: range, held: Held) -> list[Callable[[], None]]:
        """Return the recording of an update, after a check of it if it is the first of its kind."""
        is_new = facts not in self._checked
        if is_new:
            draws = host_draws(self._step.state.device)
            held.expect_after(partial(self._make, facts, indices))
            held.check_kept(self._memory())
            if host_draws(self._step.state.device) != draws:
                raise Differs("the step draws random numbers on the host")
        with self._on_device():
            replays = [self._record(partial(self._part, facts, number)) for number in range(len(indices))]
        held.check_kept(self._memory())
        held.restore()
        if is_new:
            held.check_after(partial(self._replay, replays, indices))
        if not self._checked:
            self._begin()
        self._checked.add(facts)
        return replays

    def _memory(self) -> dict[str, Tensor]:
        """Return everything on the device that an update changes, by name."""
        state = self._step.state
        memory: dict[str, Tensor] = dict(state.network.named_parameters()) | dict(state.network.named_buffers())
        memory |= {f"sum of {name}": total for name, total in state.sums.items()}
        memory |= self._rates.memory()
        if state.ema:
            memory |= {f"average of {name}": each for name, each in state.ema.network.named_parameters()}
        if state.scaler and state.scaler._scale is not None:
            assert state.scaler._growth_tracker is not None
            memory |= {"loss scale": state.scaler._scale, "growth": state.scaler._growth_tracker}
        loss = self._step.objective.loss.loss
        if isinstance(loss, nn.Module):
            memory |= {f"{name} of the loss": each for name, each in loss.named_buffers()}
        own = {"place": self.rows.at, "losses": self._notes.losses, "next loss": self._notes.at, "norm": self._norm}
        return memory | own

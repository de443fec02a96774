"""The updates of several trainings at once: one forward and one backward pass, then the update of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnrun.base.foreign_errors import calling
from nnrun.core.batches import SplitBatches
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import mean_loss
from nnrun.sweeps.stack.fused_adam import FusedAdam
from nnrun.sweeps.stack.member import Member, Update
from nnrun.sweeps.stack.network import Part, StackedNetwork


class Together:
    """Make updates of several trainings, each as its own step would, but for the order of the sums in products.

    `failed` has the error of each training that failed, which gets no further update.
    """

    def __init__(self, network: StackedNetwork, members: Sequence[Member]) -> None:
        self._network = network
        self._parts: dict[Member, Part] = {member: network.part(member.state.network) for member in members}
        self._adams = {member: FusedAdam(member.state.optimizer) for member in members}
        self.failed: dict[Member, Exception] = {}

    def __call__(self, due: Sequence[Update]) -> None:
        """Make the updates that are due; gradients of several batches add up first."""
        losses: dict[Member, list[Tensor]] = {update.member: [] for update in due}
        # Gradients that add up do so in each network's own parameters.
        adds_up = any(len(update.indices) > 1 for update in due)
        self._network.keep([] if adds_up else [self._parts[update.member] for update in due])
        for turn in range(max((len(update.indices) for update in due), default=0)):
            self._backward([update for update in due if turn < len(update.indices)], turn, losses)
        for member, of in losses.items():
            if member not in self.failed:
                try:
                    self._update(member, of[0] if len(of) == 1 else torch.stack(of).sum())
                except Exception as error:
                    self.failed[member] = error

    def _update(self, member: Member, loss: Tensor) -> None:
        """Make one update from the gradients, as the step of the training would."""
        step = member.step
        step.prepare()
        step.state.watch.note(loss, step.state.progress.place)
        with calling("optimizer"):
            self._adams[member].step()
        step.finish()
        step.count()

    def _backward(self, due: Sequence[Update], turn: int, losses: dict[Member, list[Tensor]]) -> None:
        """Add the gradients of one batch of each update, and count it in the metrics; keep each share of the loss."""
        taken: list[tuple[Update, Batch]] = []
        draws: list[list[Tensor]] = []
        drawn: dict[tuple[object, ...], list[Tensor]] = {}
        for update in due:
            state, index, part = update.member.state, update.indices[turn], self._parts[update.member]
            key = (state.seed, state.progress.epoch, index, part.rates)
            try:
                seed_step(state.device, *key[:2], state.world.stream(index))
                taken.append((update, next(update.batches)))
                if key not in drawn:
                    drawn[key] = self._network.draw(part)
                draws.append(drawn[key])
            except Exception as error:
                self.failed[update.member] = error
        parts = [self._parts[update.member] for update, _ in taken]
        with calling("model"):
            outputs = self._network(parts, draws, [batch.inputs for _, batch in taken])
        shares = []
        for group, rows in _alike(taken):
            try:
                shares += self._losses(group, outputs[rows] if len(rows) < len(taken) else outputs, losses)
            except Exception as error:
                self.failed |= dict.fromkeys((update.member for update, _ in group), error)
        with calling("model"):
            torch.cat(shares).sum().backward()  # none of them depends on the weights of another
        self._network.hand_out()

    def _losses(
        self, group: Sequence[tuple[Update, Batch]], outputs: Tensor, losses: dict[Member, list[Tensor]]
    ) -> list[Tensor]:
        """Return the shares of the losses of trainings with the same objective, `(G,)`; keep what the metrics count.

        `outputs` are `(G, N, ...)`.
        """
        objective, of_all = group[0][0].member.step.objective, _joined([batch for _, batch in group])
        scores = objective.loss.take(outputs.flatten(0, 1))
        by_sample = objective.losses(scores, of_all).unflatten(0, outputs.shape[:2])
        scores = scores.detach().unflatten(0, outputs.shape[:2])
        shares = []
        for (update, batch), row, own in zip(group, by_sample.unbind(), scores.unbind(), strict=True):
            shares.append(mean_loss(row, batch, update.num_samples))
            update.member.keep(own, row.detach(), batch)
            losses[update.member].append(shares[-1].detach())
        return [torch.stack(shares)]


def _alike(taken: Sequence[tuple[Update, Batch]]) -> Iterator[tuple[list[tuple[Update, Batch]], list[int]]]:
    """Yield the updates whose losses are computed in the same way, and their places; mixed samples each by itself."""
    groups: dict[object, list[int]] = {}
    for index, (update, batch) in enumerate(taken):
        is_plain = batch.mixed is None and not update.member.step.objective.loss.takes_inputs
        groups.setdefault(update.member.objective if is_plain else update.member, []).append(index)
    for rows in groups.values():
        yield [taken[row] for row in rows], rows


def _joined(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one."""
    if len(batches) == 1:
        return batches[0]
    targets, weight = (torch.cat(parts) for parts in zip(*(each[1:3] for each in batches), strict=True))
    num_samples, is_full = sum(each.num_samples for each in batches), all(each.is_full for each in batches)
    return Batch(None, targets, weight, num_samples, None, is_full)


class SharedBatches(SplitBatches):
    """The batches of trainings with one seed, which take them at the same time: each is made once."""

    def __init__(self, batches: SplitBatches) -> None:
        self.__dict__ |= batches.__dict__
        self._batches = batches
        self._source: Iterator[Batch] = iter(())
        self._newest: Batch | None = None
        self._at = (-1, -1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        for index in range(start, self.num_batches):
            yield self._take(epoch, index)

    def _take(self, epoch: int, index: int) -> Batch:
        """Return a batch: the newest, if it is that, or the one after it, or else one from anew."""
        if self._newest is None or self._at != (epoch, index):
            if self._at != (epoch, index - 1) or self._newest is None:
                self._source = self._batches.epoch(epoch, index)
            self._newest, self._at = next(self._source), (epoch, index)
        return self._newest


def share_batches(members: Sequence[Member]) -> None:
    """Let members with one seed, whose batches are the same, make each once."""
    shared: dict[int, SharedBatches] = {}
    for member in members:
        train = member.work.train
        if type(train) is SplitBatches and train.augmenter is None:
            member.work = replace(member.work, train=shared.setdefault(member.state.seed, SharedBatches(train)))

"""An evaluation whose work for a batch is recorded once and replayed for each: the host launches a batch as one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nnrun.base.errors import NnrunError
from nnrun.base.foreign_errors import said_by
from nnrun.core.batches import SplitBatches
from nnrun.core.captured_check import Differs
from nnrun.core.device import random_state, set_random_state
from nnrun.core.evaluate import add_batch, evaluate
from nnrun.core.objective import Objective
from nnrun.core.recorder import Recorder
from nnrun.core.seams.batch import Batch, Batches
from nnrun.core.seams.problem import Sums

# Kernels that add up in any order differ in the last bits: by this part of the largest number in a sum.
_OF_VALUE = 1e-6
# A network whose weights have moved between so many evaluations moves them between all.
_MOST_RECORDINGS = 3


class CapturedEvaluation:
    """Measure a network on a split by replaying a recording of a batch; the first time, `evaluate` measures it.

    The recording is checked against that evaluation before it is used. It reads the weights where they are: if they
    have moved since, all of that is done again. If there can be no recording, or it gives other sums, `give_up` is told
    why, and from then on `evaluate` measures. `begin` is called once a recording is in use. The random state is left as
    `evaluate` leaves it. Batches of other kinds are left to `evaluate`.
    """

    def __init__(
        self,
        record: Recorder,
        give_up: Callable[[str], None] = lambda why: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._record, self._give_up, self._begin = record, give_up, begin
        self._recording: Recording | None = None
        self._is_off, self._num_recordings = False, 0

    def __call__(
        self, network: nn.Module, objective: Objective, batches: Batches, poll: Callable[[], None] = lambda: None
    ) -> Sums:
        """Return the sums of the metrics over a split, as `evaluate` does."""
        if self._is_off or not isinstance(batches, SplitBatches):
            return evaluate(network, objective, batches, poll)
        if self._recording is not None and self._recording.is_for(network, objective, batches):
            return self._recording.replayed(poll)
        before = random_state(batches.device)
        sums = evaluate(network, objective, batches, poll)
        after = random_state(batches.device)
        try:
            if not torch.equal(before, after):
                raise Differs("an evaluation draws random numbers")
            self._recording = self._checked(Recording(network, objective, batches), sums)
        except Exception as error:
            self._recording, self._is_off = None, True
            set_random_state(batches.device, after)
            self._give_up(str(error) if isinstance(error, Differs | NnrunError) else said_by(error))
        return sums

    def _checked(self, recording: Recording, expected: Sums) -> Recording:
        """Record, and return the recording; raise Differs unless it gives the sums that are expected."""
        self._num_recordings += 1
        if self._num_recordings > _MOST_RECORDINGS:
            raise Differs("the network's weights are in other places at each evaluation")
        recording.record(self._record)
        recording.check(expected)
        if self._num_recordings == 1:
            self._begin()
        return recording


class Recording:
    """The work for a batch of a split, in memory that stays where it is."""

    @torch.inference_mode()
    def __init__(self, network: nn.Module, objective: Objective, batches: SplitBatches) -> None:
        self._network, self._objective, self._batches = network, objective, batches
        self._order = batches.order(0)
        # The next batch, `(1,)`.
        self._at = torch.zeros(1, dtype=torch.int64, device=batches.device)
        self._numbers = torch.arange(batches.batch_size, device=batches.device)
        self._has_padding = batches.num_samples % batches.batch_size != 0
        self._sums = objective.eval_metric.init(batches.device)
        self._of_none = {name: total.clone() for name, total in self._sums.items()}
        self._replay: Callable[[], None] = lambda: None
        self._places: list[int] = []

    @torch.inference_mode()
    def record(self, record: Recorder) -> None:
        """Record the work for a batch; raise Differs if a metric puts a sum in another place."""
        network, sums = self._network, dict(self._sums)
        was_training = network.training
        network.eval()
        try:
            self._replay = record(self._add_next)
        finally:
            network.train(was_training)
        for name, total in self._sums.items():
            if total is not sums.get(name):
                raise Differs(f"the sum {name} is replaced in an evaluation; it must be written in place")
        self._places = self._places_now()

    def is_for(self, network: nn.Module, objective: Objective, batches: SplitBatches) -> bool:
        """Return whether a replay measures this network, where its weights are now, on these batches."""
        theirs = (network, objective, batches)
        ours = (self._network, self._objective, self._batches)
        return all(one is other for one, other in zip(ours, theirs, strict=True)) and self._places == self._places_now()

    @torch.inference_mode()
    def replayed(self, poll: Callable[[], None] = lambda: None) -> Sums:
        """Return the sums over the split."""
        for name, total in self._sums.items():
            total.copy_(self._of_none[name])
        self._at.zero_()
        for _ in range(self._batches.num_batches):
            poll()
            self._replay()
        return {name: total.clone() for name, total in self._sums.items()}

    def check(self, expected: Sums) -> None:
        """Raise Differs unless the replayed sums are those expected. Waits for the device.

        Whole numbers, and with deterministic kernels all numbers, must be equal.
        """
        is_exact = torch.are_deterministic_algorithms_enabled()
        for name, found in self.replayed().items():
            ours, theirs = found.double().nan_to_num(), expected[name].double().nan_to_num()
            gap = float((ours - theirs).abs().max())
            allowed = _OF_VALUE * float(theirs.abs().max()) if found.is_floating_point() and not is_exact else 0.0
            if gap > allowed:
                raise Differs(f"{name} differs by {gap:.2g} after a replay; allowed: {allowed:.2g}")

    def _add_next(self) -> None:
        """Add the next batch to the sums."""
        batches = self._batches
        indices = self._order.index_select(0, self._at)[0]
        samples = batches.samples
        batch: Batch = batches.assemble(samples.inputs(indices), samples.targets(indices), batches.batch_size)
        if self._has_padding:
            # One recording is for all batches: which samples are padding is known on the device alone.
            left = batches.num_samples - self._at * batches.batch_size
            batch = batch._replace(weight=(self._numbers < left).float(), is_full=False)
        self._at.add_(1)
        add_batch(self._sums, self._network, self._objective, batch)

    def _places_now(self) -> list[int]:
        """Return where everything is that a replay reads."""
        samples, loss = self._batches.samples.placed, self._objective.loss.loss
        modules = [self._network, *([loss] if isinstance(loss, nn.Module) else [])]
        tensors: list[Tensor] = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        return [tensor.data_ptr() for tensor in (*tensors, *tree_leaves(samples.inputs), samples.targets)]

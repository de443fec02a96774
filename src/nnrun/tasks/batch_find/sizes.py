"""Train a few steps with batches of doubling size: their speed, their memory, and the largest that fits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from nnrun.assembly.training import Training
from nnrun.base.foreign_errors import lacks_memory
from nnrun.base.host import available_bytes
from nnrun.core.batches import SplitBatches
from nnrun.core.device import wait_for
from nnrun.core.passes import make_update
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.step import Step
from nnrun.tasks.inspect.cost import measure_step, num_bytes

# The first size, and the number of steps of each size that are not timed.
FIRST, _WARM_UP = 8, 2
# A smaller batch is preferred to a faster one within this fraction: it makes more updates in the same time.
CLOSE = 0.05
# After this many sizes in a row that are not faster, a CPU tries no larger one.
_MOST_SLOWER = 2
# The backward pass needs about as much again as the forward pass keeps.
_PASSES = 2
# The largest size on a GPU is found to within this fraction.
_FINENESS = 8


@dataclass(frozen=True)
class Size:
    """A batch size that was tried. Without a speed it did not fit; `memory_bytes` is the step's peak, if known."""

    batch_size: int
    samples_per_second: float | None = None
    step_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass
class Tried:
    """The sizes tried, in their order, the largest that fits, and what limits it in words."""

    sizes: list[Size] = field(default_factory=list)
    largest: int = 0
    limit: str = ""

    @property
    def timed(self) -> list[Size]:
        """The sizes that fit and were timed, the smallest first."""
        return sorted((size for size in self.sizes if size.samples_per_second), key=lambda size: size.batch_size)

    @property
    def fastest(self) -> Size | None:
        """The smallest size that is nearly as fast as the fastest."""
        best = max((size.samples_per_second or 0 for size in self.timed), default=0)
        return next((size for size in self.timed if (size.samples_per_second or 0) >= best * (1 - CLOSE)), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        fastest = self.fastest.batch_size if self.fastest else None
        sizes = [asdict(size) for size in sorted(self.sizes, key=lambda size: size.batch_size)]
        return {"sizes": sizes, "largest": self.largest, "limit": self.limit, "fastest": fastest}


class Trial:
    """Trains steps with batches of one size or another. Changes the training's state, and waits for the device."""

    def __init__(self, training: Training, step: Step, after_size: Callable[[], None]) -> None:
        self._training, self._step, self._after_size = training, step, after_size
        assert isinstance(training.train, SplitBatches)
        self._train = training.train
        training.state.set_training()

    def sizes_up_to(self, most: int | None, num_steps: int) -> Tried:
        """Try doubling sizes up to `most`, or up to the training split."""
        found, device = Tried(), self._training.state.device
        samples = self._train.num_samples
        cap, found.limit = (samples, "the training split") if most is None else (min(most, samples), "batch_find.max")
        if most is not None and samples < most:
            found.limit = "the training split"
        is_cuda, size = device.type == "cuda", min(FIRST, cap)
        per_sample = None if is_cuda else self._bytes_per_sample(size)
        if per_sample and (room := max(1, available_bytes() // (_PASSES * per_sample))) < cap:
            cap, found.limit = room, "the host's available memory"
        size, slower, failed = min(size, cap), 0, None
        while True:
            tried = self._time(size, num_steps, per_sample)
            found.sizes.append(tried)
            self._after_size()
            if tried.samples_per_second is None:
                failed, found.limit = size, "the device's memory"
                break
            found.largest = size
            best = max(other.samples_per_second or 0 for other in found.sizes)
            slower = 0 if tried.samples_per_second == best else slower + 1
            if size == cap:
                break
            if not is_cuda and slower == _MOST_SLOWER:
                # The memory of larger ones is known without trying them.
                found.largest = cap
                break
            size = min(size * 2, cap)
        if failed is not None:
            self._narrow(found, failed, num_steps)
        return found

    def _narrow(self, found: Tried, failed: int, num_steps: int) -> None:
        """Find the largest size that fits below one that does not."""
        low, high = found.largest, failed
        while high - low > max(1, low // _FINENESS):
            middle = (low + high) // 2
            found.sizes.append(tried := self._time(middle, num_steps, None))
            self._after_size()
            low, high = (low, middle) if tried.samples_per_second is None else (middle, high)
        found.largest = low

    def _time(self, batch_size: int, num_steps: int, per_sample: int | None) -> Size:
        """Return the speed of a size, or that it does not fit."""
        state, accumulate = self._training.state, self._training.plan.accumulate
        is_cuda = state.device.type == "cuda"
        if is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(state.device)
        source, seconds = _full_batches(_resized(self._train, batch_size)), []
        try:
            for _ in range(_WARM_UP + num_steps):
                start = time.perf_counter()
                self._update(source, accumulate)
                wait_for(state.device)
                seconds.append(time.perf_counter() - start)
        except Exception as error:
            if not lacks_memory(error):
                raise
            state.optimizer.zero_grad(set_to_none=True)
            return Size(batch_size)
        finally:
            source.close()
        median = statistics.median(seconds[_WARM_UP:])
        peak = torch.cuda.max_memory_allocated(state.device) if is_cuda else None
        if per_sample is not None:
            peak = _PASSES * per_sample * batch_size
        return Size(batch_size, batch_size * accumulate / median, median, peak)

    def _update(self, source: Iterator[tuple[int, int, Batch]], accumulate: int) -> None:
        """Make an update from the next batches."""
        state = self._training.state
        for _ in range(accumulate):
            epoch, index, batch = next(source)
            seed_step(state.device, state.seed, epoch, index)
            self._step.gradients(batch, batch.num_samples * accumulate)
        self._step.prepare()
        make_update(state)
        self._step.finish()

    def _bytes_per_sample(self, batch_size: int) -> int:
        """Return the bytes that the forward pass keeps for each sample, with the sample itself."""
        state, source = self._training.state, _full_batches(_resized(self._train, batch_size))
        _, _, batch = next(source)
        source.close()
        seed_step(state.device, state.seed, 0, 0)
        cost = measure_step(state.network, lambda: self._step.gradients(batch, batch.num_samples), batch.inputs)
        state.optimizer.zero_grad(set_to_none=True)
        return max(1, (cost.activation_bytes + num_bytes(tree_leaves(batch.inputs))) // batch.num_samples)


def _resized(train: SplitBatches, batch_size: int) -> SplitBatches:
    """Return the same samples in batches of another size."""
    return SplitBatches(train.samples, train.preprocessing, batch_size, train.shuffle_seed, train.augmenter)


def _full_batches(train: SplitBatches) -> Generator[tuple[int, int, Batch], None, None]:
    """Yield full batches without end, each with its epoch and its index."""
    epoch = 0
    while True:
        batches = train.epoch(epoch)
        for index in range(train.num_samples // train.batch_size):
            yield epoch, index, next(batches)
        epoch += 1

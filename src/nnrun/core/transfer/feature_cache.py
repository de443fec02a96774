"""A frozen backbone computes the same features in every epoch: compute them once, and train only the head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnrun.base.foreign_errors import calling
from nnrun.base.host import fits_in_memory
from nnrun.core.batches import SplitBatches
from nnrun.core.residency import Layout, choose_residency, samples_at
from nnrun.core.seams.batch import Batch, Batches
from nnrun.core.seams.data import Split, Tree
from nnrun.core.seams.world import World
from nnrun.core.state import TrainState

# Rounding error of bf16, relative to the largest feature.
_ROUNDING = 0.02


@dataclass(frozen=True)
class Features:
    """The backbone's features of a batch, `(B, ...)`: a Shortcut takes them in place of the network's input."""

    values: Tensor


class Shortcut(nn.Module):
    """Call a network on its input, and only its tail on Features."""

    def __init__(self, network: nn.Module, head: str) -> None:
        super().__init__()
        self.network = network
        self.tail = nn.Sequential(*tail_of(network, head))

    def forward(self, inputs: Tree) -> Tensor:
        return self.tail(inputs.values) if isinstance(inputs, Features) else self.network(inputs)


def tail_of(network: nn.Module, head: str) -> list[nn.Module]:
    """Return the head, and the modules without parameters right before it in its Sequential, such as dropout."""
    parent = network.get_submodule(head.rpartition(".")[0])
    module = network.get_submodule(head)
    items = list(parent.children()) if isinstance(parent, nn.Sequential) else [module]
    tail = [module]
    for item in reversed(items[: items.index(module)]):
        if next(item.parameters(), None) is not None or next(item.buffers(), None) is not None:
            break
        tail.insert(0, item)
    return tail


class _Reached(Exception):
    """The tail was reached: the rest need not be computed."""


def features_of(network: nn.Module, tail: list[nn.Module], inputs: Tree) -> Tensor | None:
    """Return the input of a network's tail, without running the tail; None if it is not a single tensor."""
    found: list[Tensor] = []

    def take(_: nn.Module, given: tuple[object, ...]) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor):
            found.append(given[0])
        raise _Reached

    hook = tail[0].register_forward_pre_hook(take)
    try:
        # Not the compiled call: the hook ends it halfway.
        network.forward(inputs)
    except _Reached:
        pass
    finally:
        hook.remove()
    return found[0] if found else None


def why_not_separable(network: nn.Module, tail: list[nn.Module], inputs: Tree, num_samples: int) -> str | None:
    """Return why a network is not a backbone followed by its tail, tested on a batch; None if it is, to the bit.

    The network's modes are those of its training, and are restored.
    """
    # Nothing later depends on these seeds: every step is seeded anew.
    torch.manual_seed(0)
    first = features_of(network, tail, inputs)
    torch.manual_seed(1)
    second = features_of(network, tail, inputs)
    if first is None or second is None or first.shape[:1] != (num_samples,):
        return "the head's input is not one tensor with a row per sample"
    if not torch.equal(first, second):
        return "the frozen layers draw random numbers"
    # The first half of the batch, each sample twice: with other samples, its features differ only in the last digits.
    twice = torch.arange(num_samples, device=first.device) // 2
    third = features_of(network, tail, tree_map(lambda tensor: tensor.index_select(0, twice), inputs))
    if third is None or (third - first[twice]).abs().max() > _ROUNDING * first.abs().max():
        return "a sample's features depend on the other samples in its batch"
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        outputs, values = network.forward(inputs), features_of(network, tail, inputs)
        if not isinstance(outputs, Tensor):
            return "the network returns more than its scores"
        for module in tail:
            values = module(values)
        return None if torch.equal(outputs, values) else "other computations follow the head"  # type: ignore[arg-type]
    finally:
        for module, mode in modes:
            module.training = mode


class CachedBatches:
    """Yield the features of a split's batches while the backbone is frozen, and their plain inputs before and after."""

    def __init__(self, plain: Batches, features: Batches, is_frozen: Callable[[], bool]) -> None:
        self.num_samples, self.batch_size, self.num_batches = plain.num_samples, plain.batch_size, plain.num_batches
        self.device, self.is_augmented = plain.device, plain.is_augmented
        self._plain = plain
        self._features: Batches | None = features
        self._is_frozen = is_frozen

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch."""
        return self._plain.order(epoch)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`."""
        return self._plain.take(indices)

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on; once nothing is frozen, drop the features."""
        if not self._is_frozen():
            self._features = None
        return (self._features or self._plain).epoch(epoch, start)


class DoesNotPay(Exception):
    """The features cannot be cached; the message says why."""


@torch.no_grad()
def compute_features(state: TrainState, head: str, batches: Batches, poll: Callable[[], None]) -> Split:
    """Return the features of every sample of a split and the targets, in the split's own order.

    They are computed batch by batch in the order of the first epoch; each rank computes its slices. The network must be
    in the mode in which it uses them; `poll` may raise to stop. Raises DoesNotPay, on all ranks, if the network cannot
    be separated, or memory is too small.
    """
    network = state.network
    tail = tail_of(network, head)
    made: Split | None = None
    for row, batch in zip(batches.order(0), batches.epoch(0), strict=True):
        poll()
        if made is None:
            with calling("model"):
                reason = why_not_separable(network, tail, batch.inputs, len(batch.targets))
            _give_up_together(state.world, reason)
        values = features_of(network, tail, batch.inputs)
        assert values is not None
        if made is None:
            num_bytes = values[0].nbytes * batches.num_samples
            _give_up_together(state.world, _why_too_large(num_bytes))
            is_on_device = choose_residency("auto", num_bytes, state.device) == "device"
            home = state.device if is_on_device else torch.device("cpu")
            features = torch.zeros((batches.num_samples, *values.shape[1:]), dtype=values.dtype, device=home)
            shape = (batches.num_samples, *batch.targets.shape[1:])
            made = Split(features, torch.zeros(shape, dtype=batch.targets.dtype, device=home))
        is_alike = values.shape[1:] == made.inputs.shape[1:]
        _give_up_together(state.world, None if is_alike else "the head reads sequences of different lengths")
        here = row[: batch.num_samples].to(made.targets.device)
        made.inputs[here] = values[: batch.num_samples].to(here.device)
        made.targets[here] = batch.targets[: batch.num_samples].to(here.device)
    assert made is not None, "a split has at least one sample"
    state.world.sum([made.inputs, made.targets])  # each rank has filled in its slices
    return made


def _why_too_large(num_bytes: int) -> str | None:
    """Return why features do not fit in the host's memory, if they would take more than half of it."""
    if fits_in_memory(num_bytes):
        return None
    return f"they would take {num_bytes:,} bytes, more than half of this machine's memory"


def _give_up_together(world: World, reason: str | None) -> None:
    """Raise DoesNotPay on all ranks if any has a reason."""
    if world.agree(reason is not None):
        raise DoesNotPay(reason or "another rank cannot cache them")


def cache_features(
    state: TrainState, head: str, train: Batches, valid: Batches | None, poll: Callable[[], None]
) -> tuple[Batches, Batches | None]:
    """Return batches of features for as long as the backbone is frozen; from now on, steps call a Shortcut.

    Features for validation are computed as validation does: in eval mode and in fp32. Raises DoesNotPay.
    """

    def is_frozen() -> bool:
        return state.freezing.holds(state.progress.epoch)

    def cached(plain: Batches, seed: int | None) -> Batches:
        split = compute_features(state, head, plain, poll)
        if isinstance(plain, SplitBatches):
            plain.samples.release()
        is_there = split.targets.device == state.device
        layout = Layout(state.device, residency="device" if is_there else "memory", world=state.world)
        made = SplitBatches(samples_at(split, layout), _AsFeatures(), plain.batch_size, seed)
        return CachedBatches(plain, made, is_frozen)

    state.freezing.apply(state.network, state.progress.epoch)
    with state.precision.autocast(state.device):
        cached_train = cached(train, state.seed)
    state.network.eval()
    cached_valid = cached(valid, None) if valid is not None else None
    state.train_module, state.eval_module = Shortcut(state.network, head), Shortcut(state.evaluated, head)
    return cached_train, cached_valid


class _AsFeatures:
    """The preprocessing of features: they need none, and are marked as Features."""

    def __call__(self, raw: Tree) -> Tree:
        return Features(raw)

    def to_plain(self) -> dict[str, object]:
        """Return nothing: features are not saved in checkpoints."""
        return {}

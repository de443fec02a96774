"""The seams: what the core asks of data, problems, schedulers, callbacks, loggers and exporters, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from nnrun.core.lazy_samples import Stored
from nnrun.core.sample_hashes import identities, tree_digests

if TYPE_CHECKING:
    from nnrun.core.state import TrainState

# Any tree of tensors: a tensor, or a tuple, list or dict of trees. The first dimension of each tensor is the sample.
# Raw samples may lie in a file instead, as `Stored`.
Tree = Any
Sums = dict[str, Tensor]


class Preprocessing(Protocol):
    """Turn raw samples, as they are stored and as a deployed network receives them, into the network's input."""

    def __call__(self, raw: Tree) -> Tree:
        """Return the network's input for a batch of raw samples, on the same device."""
        ...

    def to_plain(self) -> dict[str, Any]:
        """Return its `_target_` and parameters, plain values from which it can be built again."""
        ...


@dataclass(frozen=True)
class Split:
    """Samples and their targets, on the host: `inputs` raw, each tensor `(N, ...)`; `targets` `(N,)`.

    `names` says of each sample what a person calls it, the path of its file, where there is such a thing. `digests`,
    int64 `(N,)`, stand for the values of each sample, where they are known already; `originals` for what it was before
    it was brought to the form of its data, where that is something else.
    """

    inputs: Tree
    targets: Tensor
    names: Sequence[str] | None = None
    digests: Tensor | None = None
    originals: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: Tensor) -> Split:
        """Return the samples at `indices`, in that order; what lies in a file stays there."""
        inputs = tree_map(lambda t: t.subset(indices) if isinstance(t, Stored) else t[indices], self.inputs)
        names = None if self.names is None else [self.names[index] for index in indices.tolist()]
        digests, originals = (None if kept is None else kept[indices] for kept in (self.digests, self.originals))
        return Split(inputs, self.targets[indices], names, digests, originals)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the raw samples at `indices` in memory, and their targets."""
        return tree_map(lambda t: t[indices], self.inputs), self.targets[indices]

    def loaded(self) -> Split:
        """Return the same split with all of its samples in memory."""
        inputs = tree_map(lambda t: t.loaded() if isinstance(t, Stored) else t, self.inputs)
        return replace(self, inputs=inputs)

    def digested(self) -> Tensor:
        """Return what stands for the values of each sample, int64 `(N,)`; computed where it is not known."""
        return tree_digests(self.inputs) if self.digests is None else self.digests

    def identified(self) -> Tensor:
        """Return what stands for each sample however it is shown, int64 `(N,)`: at another size it is the same one."""
        if self.originals is not None:
            return self.originals
        return tree_digests(self.inputs, identities) if self.digests is None else self.digests

    @property
    def num_bytes(self) -> int:
        """How much memory the samples take, or would take."""
        return sum(leaf.nbytes for leaf in tree_leaves(self.inputs))


@dataclass(frozen=True)
class Findings:
    """What was found while data was read: lines for people, lines for the log alone, facts for summary.json."""

    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """What a data source gives: a training and a test split, and what a network and a report need to know of them.

    `valid` is a validation part that the data brings along; without one it is held out of `train`. `fingerprint` is the
    same for the same samples in the same order, wherever they lie; without one, every sample is read for it. `became`
    has settings of `data` that the samples decided, by name: the run is saved with these. `test_is_drawn` says that
    the data has no test part of its own: it was held out of the samples to train on.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    problem: str = "classification"
    valid: Split | None = None
    fingerprint: str | None = None
    findings: Findings = field(default_factory=Findings)
    became: Mapping[str, Any] = field(default_factory=dict)
    test_is_drawn: bool = False

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of one sample, `(C, H, W)` for images."""
        return tuple(tree_leaves(self.train.inputs)[0].shape[1:])


@dataclass(frozen=True)
class Evaluation:
    """What data are opened for besides a training: to measure a network that tells `class_names` apart.

    `all_is_test` asks for every sample of data without a test part: the network was trained on other data.
    """

    class_names: tuple[str, ...]
    all_is_test: bool


class DataSource(Protocol):
    """A data set that can be opened: what `data.dataset._target_` names.

    One may also have `load_for(evaluation)`, which returns the data as an Evaluation asks for them: their labels are
    those of its classes, of which some may have no sample, and the part to train on may be missing, or of length 0.
    """

    def load(self) -> Dataset:
        """Read the data, fetching what is missing; raise DataError where it is wrong."""
        ...


class Augmentation(Protocol):
    """Change the samples of a training batch, each by a draw of its own.

    A class may have a `stage`, one of augmenter.py's, which says when its turn is, and `one_is_white`, where floats
    beyond 0 to 1 are not for it.
    """

    def __call__(self, raw: Tree, generator: torch.Generator) -> Tree:
        """Return raw samples, as they are stored, changed, of the same shapes and types.

        Every draw comes from `generator`, which is on their device.
        """
        ...


class Mixing(Protocol):
    """Mix each sample of a training batch with another one; its target is then a mixture too."""

    def mix(self, inputs: Tree, others: Tree, generator: torch.Generator) -> tuple[Tree, Tensor]:
        """Return the network's inputs, each mixed with its other one, and the share of its own in it, `(N,)`.

        A share is from 1/2 to 1: what a sample is for the most part stays its target.
        """
        ...


class Mixed(NamedTuple):
    """What the samples of a batch are mixed with: the others' targets, and the share of their own, `(B,)`."""

    targets: Tensor
    share: Tensor


class Batch(NamedTuple):
    """Samples on the device, always as many as the batch size: a short last batch is padded with weight 0.

    `weight` is `(B,)`, 1 for a sample and 0 for padding; `num_samples` counts the samples on the host. `targets` are
    the samples' own, also where they are mixed with others. `is_full` says that every weight is 1, where the host knows
    that: nothing need then be weighed.
    """

    inputs: Tree
    targets: Tensor
    weight: Tensor
    num_samples: int
    mixed: Mixed | None = None
    is_full: bool = False


class Batches(Protocol):
    """The batches of a split: a pure function of (seed, epoch, index)."""

    num_samples: int
    batch_size: int
    num_batches: int

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, batch_size)`, on the device."""
        ...

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, not augmented."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        ...


class Metric(Protocol):
    """Sums that live on the device, add up over batches and over ranks, and are read once."""

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        ...

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        ...

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name. Waits for the device."""
        ...


class Problem(Protocol):
    """What kind of learning a run is: its loss, its metrics, its predictions; `headline` is the metric to quote."""

    headline: str
    train_metric: Metric
    eval_metric: Metric

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, `(N,)`."""
        ...

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return what the summary says of a test beyond the metrics, as plain values."""
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the headline metric of one network's outputs on a whole split."""
        ...

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether two networks' outputs mean the same prediction, `(N,)` of bool."""
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return outputs as probabilities, of the same shape."""
        ...

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return what two networks say of one sample, as plain values."""
        ...


class Scheduler(Protocol):
    """A learning rate schedule. A class of another library that has no `interval` steps by epoch."""

    interval: ClassVar[Literal["step", "epoch"]]

    def step(self) -> None:
        """Set the learning rate for the next step or epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        ...


class Callback:
    """Hooks beside the steps; each does nothing by default. A state is saved with the checkpoint and taken up again."""

    def on_fit_start(self, state: TrainState) -> None:
        """Before the first step of this process."""

    def on_gradients_ready(self, state: TrainState) -> None:
        """After the backward pass and the clipping, before the update."""

    def on_step_end(self, state: TrainState) -> None:
        """After each update."""

    def on_epoch_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """After each validation, with its metrics by full name, `valid/loss`."""

    def on_fit_end(self, state: TrainState) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive, as plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""


class Logger(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        """Begin with the run directory and the redacted config."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take metrics by full name."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the summary and close."""
        ...


@dataclass(frozen=True)
class ExportContext:
    """What an exporter may need besides the network.

    `calibration` draws raw training samples, at most so many, and reads none before it is called. `config` is that of
    the run, as plain values, without secrets.
    """

    example: Tensor
    class_names: Sequence[str]
    preprocessing: Preprocessing
    run_id: str
    accuracy: float
    calibration: Callable[[int], Tensor]
    config: Mapping[str, Any]


class CannotExport(Exception):
    """A format cannot express a network; the message is the reason, and names a format that can."""


class Exporter(Protocol):
    """One format. The verifier, written once for all, calls `load` and compares with the network.

    An exporter may say more of its artifact: that its `output` is "probabilities", where the network's are scores; by
    how much the metric may be worse, `max_accuracy_drop`; and `notes` on how it was made, for people.
    """

    tolerance: float
    min_agreement: float
    preprocess: bool

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path.

        Raises CannotExport where the format cannot express the network.
        """
        ...

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """Return the artifact as a function from a batch, raw or normalised by `preprocess`, to scores.

        Where it can be run without the model's class, that is an `nnrun.proof.isolated.Isolated`.
        """
        ...

"""What a data source gives: samples and their targets, in splits, and what was found while they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from nnrun.base.targets import Targets
from nnrun.core.lazy_samples import Stored
from nnrun.core.sample_hashes import identities, tree_digests

# Any tree of tensors: a tensor, or a tuple, list or dict of trees. The first dimension of each tensor is the sample.
# Raw samples may lie in a file instead, as `Stored`.
Tree = Any


class Preprocessing(Protocol):
    """Turn raw samples, as they are stored and as a deployed network receives them, into the network's input."""

    def __call__(self, raw: Tree) -> Tree:
        """Return the network's input for a batch of raw samples, on the same device."""
        ...

    def to_plain(self) -> dict[str, Any]:
        """Return its `_target_` and parameters, plain values from which it can be built again."""
        ...


@dataclass(frozen=True)
class TensorSpec:
    """The shape of a tensor in a sample, a dimension that each sample has its own of as None, and its type."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Split:
    """Samples and their targets, on the host: `inputs` raw, each tensor `(N, ...)`; `targets` as their kind has them.

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
        digests = None if self.digests is None else self.digests[indices]
        originals = digests  # where they are the same, as of small samples, they are held once
        if self.originals is not self.digests:
            originals = None if self.originals is None else self.originals[indices]
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


@dataclass(frozen=True, init=False)
class Dataset:
    """What a data source gives: a training and a test split, and what a network and a report need to know of them.

    `valid` is a validation part that the data brings along; without one it is held out of `train`. `fingerprint` is the
    same for the same samples in the same order, wherever they lie; without one, every sample is read for it. `became`
    has settings of `data` that the samples decided, by name: the run is saved with these. `test_is_drawn` says that
    the data has no test part of its own: it was held out of the samples to train on. `facts` are plain values by name
    that a network's section may ask for, as `${data.facts.NAME}`.
    """

    train: Split
    test: Split
    targets: Targets
    preprocessing: Preprocessing
    valid: Split | None
    fingerprint: str | None
    findings: Findings
    became: Mapping[str, Any]
    test_is_drawn: bool
    facts: Mapping[str, Any]

    def __init__(  # noqa: PLR0913, PLR0917 - a dataclass's own, but for one more name
        self,
        train: Split,
        test: Split,
        targets: Targets | Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        valid: Split | None = None,
        fingerprint: str | None = None,
        findings: Findings | None = None,
        became: Mapping[str, Any] | None = None,
        test_is_drawn: bool = False,
        facts: Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Take names in place of `targets`, also as `class_names`, for classes of these names."""
        names = targets if class_names is None else class_names
        given = {
            "train": train,
            "test": test,
            "targets": names if isinstance(names, Targets) else Targets.classes(names),
            "preprocessing": preprocessing,
            "valid": valid,
            "fingerprint": fingerprint,
            "findings": Findings() if findings is None else findings,
            "became": became or {},
            "test_is_drawn": test_is_drawn,
            "facts": facts or {},
        }
        if not names or preprocessing is None:
            raise TypeError(f"a Dataset lacks its {'preprocessing' if names else 'targets'}")
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the targets."""
        return self.targets.names

    @property
    def input_spec(self) -> Tree:
        """The shape and the type of each tensor of a sample: a tree of TensorSpec."""
        return tree_map(lambda t: TensorSpec(tuple(t.shape[1:]), t.dtype), self.train.inputs)

    @property
    def in_shape(self) -> Tree:
        """The shape of one sample, such as `(C, H, W)`; of several tensors the shapes by name."""
        return tree_map(lambda spec: spec.shape, self.input_spec)


@dataclass(frozen=True)
class Evaluation:
    """What data are opened for besides a training: to measure a network that has learned `targets`.

    `all_is_test` asks for every sample of data without a test part: the network was trained on other data.
    """

    targets: Targets
    all_is_test: bool

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of what the network has learned."""
        return self.targets.names


class DataSource(Protocol):
    """A data set that can be opened: what `data.dataset._target_` names.

    One may also have `load_for(evaluation)`, which returns the data as an Evaluation asks for them: their labels are
    those that it has learned, of which some may have no sample, and the part to train on may be of length 0. One that
    knows before it reads them how many samples there are to train on, or to be divided, says so as `num_to_train_on`.
    """

    def load(self) -> Dataset:
        """Read the data, fetching what is missing; raise DataError where it is wrong."""
        ...

"""What a data source returns: samples and their targets, in splits, and what was found while reading them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from nnrun.base.shown import Table
from nnrun.base.targets import Targets
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.sample_hashes import identities, tree_digests

# Any tree of tensors: a tensor, or a tuple, list or dict of trees. The first dimension of each tensor is the sample.
# Raw samples may stay in a file instead, as `Stored`; those of different lengths are `Ragged`. A leaf of another kind
# may itself give a tree of tensors, whose form it says as `input_spec`.
Tree = Any


class Preprocessing(Protocol):
    """Turn raw samples, as they are stored and as a deployed network receives them, into the network's input.

    It may also have `beside()`: plain values, or the text of a file, that callers need to make raw samples of what they
    have, by the name of the file, which is written into the run's directory and beside each artifact. And it may have
    `input_columns()`: the parts of raw samples that callers know by name, as `InputColumn`s (seams/columns.py), whose
    effect on the predictions is measured; and `difference_from(plain)`: in words, what was in the data of a saved one
    and is not in its own, and the other way round, empty if nothing that it knows. Of a network with an attribute
    `reads_inputs`, the names of the inputs that it takes, `reading(names)` returns one that may leave out the others.
    """

    def __call__(self, raw: Tree) -> Tree:
        """Return the network's input for a batch of raw samples, on the same device."""
        ...

    def to_plain(self) -> dict[str, Any]:
        """Return its `_target_` and parameters, plain values from which it can be rebuilt."""
        ...


class Given(Protocol):
    """Samples as callers have them: the cells of a table, or texts, of which `inputs` are the codes."""

    def subset(self, indices: Tensor) -> Given:
        """Return the samples at `indices`, in that order."""
        ...

    def tree(self, names: Sequence[str]) -> Tree:
        """Return them as a dict of tensors or Texts, by these names."""
        ...

    def words(self) -> Sequence[str]:
        """Return each sample as a text for people."""
        ...


@dataclass(frozen=True)
class TensorSpec:
    """The shape of a tensor in a sample, with None for a dimension that differs between samples, and its dtype."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Split:
    """Samples and their targets, on the host: raw `inputs`, each tensor `(N, ...)`; `targets` as their kind requires.

    `names` are the samples' names for people, such as the paths of their files, if there are any. `digests`, int64
    `(N,)`, identify the values of each sample, if they are known already; `originals` identify each sample before its
    conversion (a resize, for example), if that changes it. `keys` are the groups or times of the samples, if these
    decide how splits are drawn. `given` are the samples as callers of a deployed network have them, if not as `inputs`.
    """

    inputs: Tree
    targets: Tensor
    names: Sequence[str] | None = None
    digests: Tensor | None = None
    originals: Tensor | None = None
    keys: SplitKeys | None = None
    given: Given | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: Tensor) -> Split:
        """Return the samples at `indices`, in that order; samples in a file stay there."""
        inputs = tree_map(
            lambda t: t.index_select(0, indices) if isinstance(t, Tensor) else t.subset(indices), self.inputs
        )
        names = None if self.names is None else [self.names[index] for index in indices.tolist()]
        digests = None if self.digests is None else self.digests[indices]
        originals = digests  # if they are the same, as for small samples, they are kept once
        if self.originals is not self.digests:
            originals = None if self.originals is None else self.originals[indices]
        keys = None if self.keys is None else self.keys.subset(indices)
        given = None if self.given is None else self.given.subset(indices)
        return Split(inputs, self.targets[indices], names, digests, originals, keys, given)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the raw samples at `indices` in memory, and their targets."""
        return tree_map(lambda t: t[indices], self.inputs), self.targets[indices]

    def loaded(self) -> Split:
        """Return the same split with all of its samples in memory."""
        inputs = tree_map(lambda t: t if isinstance(t, Tensor) else t.loaded(), self.inputs)
        return replace(self, inputs=inputs)

    def digested(self) -> Tensor:
        """Return the digest of the values of each sample, int64 `(N,)`; compute it if it is not known."""
        return tree_digests(self.inputs) if self.digests is None else self.digests

    def identified(self) -> Tensor:
        """Return the identity of each sample, int64 `(N,)`, which is the same when it is resized."""
        if self.originals is not None:
            return self.originals
        return tree_digests(self.inputs, identities) if self.digests is None else self.digests

    @property
    def num_bytes(self) -> int:
        """The memory that the samples take, or would take."""
        return sum(leaf.nbytes for leaf in tree_leaves(self.inputs))


@dataclass(frozen=True)
class Findings:
    """What was found while data was read: lines and tables for people, lines for the log, facts for summary.json.

    The fact `recommended_batch_size`, if there is one, takes the place of the default of data.batch_size.
    """

    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()

    def with_more(self, more: Findings) -> Findings:
        """Return both findings together."""
        facts = {**self.facts, **more.facts}
        return Findings(self.notes + more.notes, self.details + more.details, facts, self.tables + more.tables)


class Fitted(NamedTuple):
    """What was learned of the training split: the splits in the form for it, the preprocessing, facts and findings."""

    splits: Mapping[str, Split]
    preprocessing: Preprocessing
    facts: Mapping[str, Any]
    findings: Findings


@dataclass(frozen=True, init=False)
class Dataset:
    """What a data source returns: a training and a test split, and what a network and a report need to know of them.

    `valid` is a validation split that comes with the data; without one it is held out of `train`. `fingerprint` is the
    same for the same samples in the same order, wherever they are stored; without one, every sample is read to compute
    it. `became` has settings of `data` that were set from the data, by name: the run is saved with these.
    `test_is_drawn` says that the data has no test split of its own: it was held out of the samples to train on. `facts`
    are plain values by name that a network's section may refer to, as `${data.facts.NAME}`. `fit`, if there is
    something to learn of the samples, is called with the splits by name once the validation split is held out: it may
    look at `train` alone. Until then, inputs may be any objects with `len` and `subset(indices)`, and there need be no
    preprocessing.
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
    fit: Callable[[Mapping[str, Split]], Fitted] | None

    def __init__(  # noqa: PLR0913, PLR0917 - the dataclass's fields, and one old name
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
        fit: Callable[[Mapping[str, Split]], Fitted] | None = None,
    ) -> None:
        """Accept the names of classes in place of `targets`, also as `class_names`."""
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
            "fit": fit,
        }
        if not names or (preprocessing is None and fit is None):
            raise TypeError(f"a Dataset needs {'preprocessing' if names else 'targets'}")
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the targets."""
        return self.targets.names

    @property
    def input_spec(self) -> Tree:
        """The shape and the dtype of each tensor of a sample: a tree of TensorSpec."""
        return tree_map(
            lambda t: t.input_spec if hasattr(t, "input_spec") else TensorSpec(tuple(t.shape[1:]), t.dtype),
            self.train.inputs,
        )

    @property
    def in_shape(self) -> Tree:
        """The shape of one sample, such as `(C, H, W)`; for several tensors, their shapes by name."""
        return tree_map(lambda spec: spec.shape, self.input_spec)


@dataclass(frozen=True)
class Evaluation:
    """Why data are opened other than for training: to evaluate a network that has learned `targets`.

    `all_is_test` asks for every sample of data without a test split: the network was trained on other data.
    `preprocessing` is the network's, as plain values, where its file says it.
    """

    targets: Targets
    all_is_test: bool
    preprocessing: Mapping[str, Any] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the network's outputs."""
        return self.targets.names


class DataSource(Protocol):
    """A data set that can be opened: the class that `data.dataset._target_` names.

    It may also have `load_for(evaluation)`, which returns the data as an Evaluation asks for them: with the labels that
    the network has learned, of which some may have no sample, and perhaps an empty training split. If it knows the
    number of samples to train on, or to split, before it reads them, it may have it as `num_to_train_on`.
    """

    def load(self) -> Dataset:
        """Read the data, downloading what is missing; raise DataError if it is wrong."""
        ...

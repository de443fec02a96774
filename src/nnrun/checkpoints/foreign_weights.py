"""Foreign weights: fit the state dict in a file of torch.save or safetensors to a network's names.

Every change is noted: which of several state dicts is taken, prefixes from other trainers' wrappers that are removed,
and entries that are skipped since they are not weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nnrun.base.errors import ArtifactError
from nnrun.base.visible import few
from nnrun.checkpoints.saved_run import SavedRun, SavedWeights
from nnrun.checkpoints.tensors import read_tensors
from nnrun.checkpoints.weight_names import averages, fitting_prefixes, holds_no_weight, under_wrappers

_SHOWN = 3
# Maximum number of words before the names of one of several networks in a file: `net.`, `model.ema.`
_GROUP_DEPTH = 3


@dataclass(frozen=True)
class NamedTensors:
    """The tensors in one place of a file, and notes on changes to their names."""

    place: str
    tensors: dict[str, Tensor]
    is_average: bool
    notes: tuple[str, ...] = ()

    def num_fitting(self, wanted: Mapping[str, Tensor]) -> int:
        """Return how many of a network's weights are here, by name."""
        return sum(name in self.tensors for name in wanted)


def weights_for(network: nn.Module, saved: SavedWeights) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights in a file for a network, and notes on changes to their names.

    Those of an nnrun checkpoint already have the network's names; for others see `match`.
    """
    if isinstance(saved, SavedRun):
        return read_tensors(saved.file, saved.weights), []
    return match(saved, network)


def match(saved: SavedWeights, network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights in a file under the network's names, and notes on the changes.

    If several state dicts in the file fit equally well, averaged weights are taken. Prefixes that all names share are
    removed, as are the words of wrappers inside of names; buffers that hold no weights and entries that are not tensors
    are skipped; missing counters and indices keep the network's values. If no name is the network's, but the shapes are
    the same one by one, the weights are assigned in order: such a file has the same network under other names.
    Otherwise the names are kept, and loading reports the mismatch. Raises ArtifactError where the file cannot be read.
    """
    state = network.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if not holds_no_weight(name, tensor)}
    found = [item for whole in _read(saved) for item in _with_parts(whole, wanted)]
    most = max(item.num_fitting(wanted) for item in found)
    best = [item for item in found if item.num_fitting(wanted) == most]
    chosen = next((item for item in best if item.is_average), best[0])
    notes = list(chosen.notes)
    if len(best) > 1 and most:
        others = " and ".join(item.place for item in best if item is not chosen)
        why = "averaged weights are taken before raw ones" if chosen.is_average else "the first is taken"
        notes.insert(0, f"has weights in {chosen.place} and in {others}: loading those in {chosen.place}, since {why}")
    less = [item.place for item in found if item.is_average and item not in best and item.num_fitting(wanted)]
    if less and not chosen.is_average:
        notes.append(f"also has averaged weights in {less[0]}, which lack some of the network's and are not loaded")
    weights = chosen.tensors
    if not most:
        weights, more = _in_order(weights, wanted)
        notes += more
    weights, more = _without_what_holds_none(weights, state)
    notes += more
    missing = [name for name in state if name not in wanted and name not in weights]
    if missing and not wanted.keys().isdisjoint(weights):
        weights |= {name: state[name] for name in missing}
        notes.append(f"lacks {few(missing, _SHOWN)}, which hold no weights: they keep the network's initial values")
    _check_types(weights, state, saved.path)
    return {name: _plain(tensor) for name, tensor in weights.items()}, [f"{saved.path} {note}" for note in notes]


def _read(saved: SavedWeights) -> list[NamedTensors]:
    """Return the groups of tensors in a file, the usual places first."""
    contents = read_tensors(saved.file, list(saved.groups.values()))
    return [_named(".".join(keys), content) for keys, content in zip(saved.groups, contents, strict=True)]


def _named(place: str, content: Mapping[str, object]) -> NamedTensors:
    """Return the tensors in one place, with a note on other entries there."""
    tensors = {name: item for name, item in content.items() if isinstance(name, str) and isinstance(item, Tensor)}
    # Nested mappings are other places; further entries of the file describe its training.
    others = [str(name) for name, item in content.items() if not isinstance(item, Tensor | dict | list)]
    notes = (f"holds {few(others, _SHOWN)}: not a tensor, skipped",) if others and len(tensors) > 1 else ()
    is_average = averages(place) or any(name.rpartition(".")[2] == "n_averaged" for name in tensors)
    return NamedTensors(place or "the file itself", tensors, is_average, notes)


def _with_parts(whole: NamedTensors, wanted: Mapping[str, Tensor]) -> Iterator[NamedTensors]:
    """Yield tensors with names that fit a network; for a file with several networks, those of each that fits."""
    fitting = _renamed(whole, wanted)
    has_more = any(name not in wanted and not holds_no_weight(name, item) for name, item in fitting.tensors.items())
    parts = list(_parts(whole, wanted)) if has_more else []
    if not parts:
        yield fitting
    elif fitting.num_fitting(wanted) == len(wanted):
        # As in `weight` and `ema.weight`: the tensors without a prefix are a network too.
        yield _kept(fitting, fitting.tensors.keys() & wanted.keys())
    for names, part in parts:
        others = {name for name in whole.tensors.keys() - names if not holds_no_weight(name, whole.tensors[name])}
        yield replace(part, notes=(*part.notes, _left_out(others))) if others else part


def _kept(item: NamedTensors, names: Collection[str]) -> NamedTensors:
    """Return some of the tensors, with a note on the skipped ones."""
    tensors = {name: tensor for name, tensor in item.tensors.items() if name in names}
    return replace(item, tensors=tensors, notes=(*item.notes, _left_out(item.tensors.keys() - names)))


def _parts(whole: NamedTensors, wanted: Mapping[str, Tensor]) -> Iterator[tuple[set[str], NamedTensors]]:
    """Yield each group of tensors with a common prefix that is a whole network: names in the file, and the tensors."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in whole.tensors.items():
        words = name.split(".")
        for depth in range(1, min(len(words), _GROUP_DEPTH + 1)):
            groups.setdefault(".".join(words[:depth]), {})[name] = tensor
    taken: set[str] = set()
    for word, tensors in groups.items():
        if len(wanted) <= len(tensors) < len(whole.tensors) and taken.isdisjoint(tensors):
            is_average = averages(word) or any(name.endswith(".n_averaged") for name in tensors)
            part = replace(_renamed(NamedTensors(f"{word}.*", tensors, is_average), wanted), notes=whole.notes)
            has_more = any(
                name not in wanted and not holds_no_weight(name, item) for name, item in part.tensors.items()
            )
            if part.num_fitting(wanted) == len(wanted) and not has_more:
                taken |= tensors.keys()
                yield set(tensors), part


def _renamed(item: NamedTensors, wanted: Mapping[str, Tensor]) -> NamedTensors:
    """Return tensors under the names that fit a network best."""
    notes = [*item.notes]
    names = under_wrappers(item.tensors, wanted)
    begin, before = fitting_prefixes(names.values(), wanted)
    if begin:
        notes.append(f"has {begin!r} before every name, which is removed")
    elif before:
        notes.append(f"has names without the network's prefix {before!r}, which is added")
    if list(names) != list(names.values()):
        notes.append("has words of wrappers inside of names, which are removed")
    tensors = {before + names[name].removeprefix(begin): tensor for name, tensor in item.tensors.items()}
    return replace(item, tensors=tensors, notes=tuple(notes))


def _in_order(weights: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights under the network's names if their shapes are the network's, one by one."""
    theirs = {name: tensor for name, tensor in weights.items() if not holds_no_weight(name, tensor)}
    shapes = [tensor.shape for tensor in theirs.values()]
    if not shapes or shapes != [tensor.shape for tensor in wanted.values()]:
        return weights, []
    pairs = [f"{name} as {ours}" for name, ours in zip(theirs, wanted, strict=True)]
    more = ", and so on" if len(pairs) > _SHOWN else ""
    note = f"has other names but the same shapes, and is loaded in order: {', '.join(pairs[:_SHOWN])}{more}"
    return dict(zip(wanted, theirs.values(), strict=True)), [note]


def _without_what_holds_none(
    weights: dict[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights without counters, indices and the like that the network does not have."""
    left = [name for name, tensor in weights.items() if name not in state and holds_no_weight(name, tensor)]
    kept = {name: tensor for name, tensor in weights.items() if name not in left}
    return kept, [f"has {few(left, _SHOWN)}, which hold no weights and are skipped"] if left else []


def _check_types(weights: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ArtifactError where weights are integers: copied unchanged they would mean other values."""
    wrong = [
        f"{name} is {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in weights.items()
        if name in state and torch.is_floating_point(state[name]) and not torch.is_floating_point(tensor)
    ]
    if wrong:
        raise ArtifactError(
            f"{path} does not hold the network's weights as floats ({few(wrong, _SHOWN)}); save them before they are "
            "quantized"
        )


def _left_out(names: set[str]) -> str:
    """Return a note on tensors of another network."""
    return f"holds {len(names):,} more tensors, which are skipped: {few(sorted(names), _SHOWN)}"


def _plain(tensor: Tensor) -> Tensor:
    """Return a parameter as a tensor."""
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor

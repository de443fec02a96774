"""Weights from elsewhere: a file with a state dict alone, of torch.save's or of safetensors', under a network's names.

What is done to them is said: which of several are taken, what other trainers' wrappers put before the names, what holds
no weight and is left out.
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
# How many words deep the weights of one of several networks in a file are looked for: `net.`, `model.ema.`
_GROUP_DEPTH = 3


@dataclass(frozen=True)
class NamedTensors:
    """The tensors that stand together somewhere in a file, and what was done to their names."""

    place: str
    tensors: dict[str, Tensor]
    is_average: bool
    notes: tuple[str, ...] = ()

    def num_fitting(self, wanted: Mapping[str, Tensor]) -> int:
        """Return how many of a network's weights are here, by their names."""
        return sum(name in self.tensors for name in wanted)


def weights_for(network: nn.Module, saved: SavedWeights) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights in a file for a network, and notes on what was done to their names.

    Those of a checkpoint bear the network's names as they are; for others see `match`.
    """
    if isinstance(saved, SavedRun):
        return read_tensors(saved.file, saved.weights), []
    return match(saved, network)


def match(saved: SavedWeights, network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights in a file under the network's names, and notes on what was done to the file's own.

    Where the file holds several that fit as well, averaged ones are taken. Words that all names begin with are left
    out, as are those of wrappers inside of names, buffers that hold no weight, and what is no tensor; counters and
    indices that are missing are the network's own. Where not one name is the network's, but the shapes are, one after
    the other, the order decides: such a file is of the same network, written down with other names. Otherwise the
    names stay, and loading says what does not fit. Raises ArtifactError where the file cannot be read.
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
        notes.insert(
            0, f"has weights in {chosen.place} and in {others}: those in {chosen.place} are loaded, since {why}"
        )
    less = [item.place for item in found if item.is_average and item not in best and item.num_fitting(wanted)]
    if less and not chosen.is_average:
        notes.append(f"has averaged weights in {less[0]} too, which lack some of the network's and are not loaded")
    weights = chosen.tensors
    if not most:
        weights, more = _in_order(weights, wanted)
        notes += more
    weights, more = _without_what_holds_none(weights, state)
    notes += more
    missing = [name for name in state if name not in wanted and name not in weights]
    if missing and not wanted.keys().isdisjoint(weights):
        weights |= {name: state[name] for name in missing}
        notes.append(f"lacks {few(missing, _SHOWN)}, which hold no weights: they stay as the network makes them")
    _check_types(weights, state, saved.path)
    return {name: _plain(tensor) for name, tensor in weights.items()}, [f"{saved.path} {note}" for note in notes]


def _read(saved: SavedWeights) -> list[NamedTensors]:
    """Return the tensors that stand together in a file, the usual places first."""
    contents = read_tensors(saved.file, list(saved.groups.values()))
    return [_named(".".join(keys), content) for keys, content in zip(saved.groups, contents, strict=True)]


def _named(place: str, content: Mapping[str, object]) -> NamedTensors:
    """Return what stands in one place: its tensors, and a note on what else there is among them."""
    tensors = {name: item for name, item in content.items() if isinstance(name, str) and isinstance(item, Tensor)}
    # What holds weights itself is another place; of the whole file the rest is how it was trained.
    others = [str(name) for name, item in content.items() if not isinstance(item, Tensor | dict | list)]
    notes = (f"holds {few(others, _SHOWN)}, which is no tensor and is left out",) if others and len(tensors) > 1 else ()
    is_average = averages(place) or any(name.rpartition(".")[2] == "n_averaged" for name in tensors)
    return NamedTensors(place or "the file itself", tensors, is_average, notes)


def _with_parts(whole: NamedTensors, wanted: Mapping[str, Tensor]) -> Iterator[NamedTensors]:
    """Yield tensors with names that fit a network, and, of a file with several networks, those of each that fits."""
    fitting = _renamed(whole, wanted)
    has_more = any(name not in wanted and not holds_no_weight(name, item) for name, item in fitting.tensors.items())
    parts = list(_parts(whole, wanted)) if has_more else []
    if not parts:
        yield fitting
    elif fitting.num_fitting(wanted) == len(wanted):
        # As in `weight` and `ema.weight`: what stands under no word of its own is a network too.
        yield _kept(fitting, fitting.tensors.keys() & wanted.keys())
    for names, part in parts:
        others = {name for name in whole.tensors.keys() - names if not holds_no_weight(name, whole.tensors[name])}
        yield replace(part, notes=(*part.notes, _left_out(others))) if others else part


def _kept(item: NamedTensors, names: Collection[str]) -> NamedTensors:
    """Return some of the tensors, and say which are left out."""
    tensors = {name: tensor for name, tensor in item.tensors.items() if name in names}
    return replace(item, tensors=tensors, notes=(*item.notes, _left_out(item.tensors.keys() - names)))


def _parts(whole: NamedTensors, wanted: Mapping[str, Tensor]) -> Iterator[tuple[set[str], NamedTensors]]:
    """Yield the tensors, all under one word, that make up a whole network: their names in the file, and as they fit."""
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
    """Return tensors under names that fit a network as well as they can."""
    notes = [*item.notes]
    names = under_wrappers(item.tensors, wanted)
    begin, before = fitting_prefixes(names.values(), wanted)
    if begin:
        notes.append(f"has {begin!r} before every name, which is left out")
    elif before:
        notes.append(f"has names without {before!r}, with which the network's begin")
    if list(names) != list(names.values()):
        notes.append("has names with words of wrappers inside, which are left out")
    tensors = {before + names[name].removeprefix(begin): tensor for name, tensor in item.tensors.items()}
    return replace(item, tensors=tensors, notes=tuple(notes))


def _in_order(weights: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights under the network's names where their shapes are the network's, one after the other."""
    theirs = {name: tensor for name, tensor in weights.items() if not holds_no_weight(name, tensor)}
    shapes = [tensor.shape for tensor in theirs.values()]
    if not shapes or shapes != [tensor.shape for tensor in wanted.values()]:
        return weights, []
    pairs = [f"{name} as {ours}" for name, ours in zip(theirs, wanted, strict=True)]
    more = ", and so on" if len(pairs) > _SHOWN else ""
    note = f"has other names and the same shapes, and is taken in its order: {', '.join(pairs[:_SHOWN])}{more}"
    return dict(zip(wanted, theirs.values(), strict=True)), [note]


def _without_what_holds_none(
    weights: dict[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights without counters, indices and the like that the network does not have."""
    left = [name for name, tensor in weights.items() if name not in state and holds_no_weight(name, tensor)]
    kept = {name: tensor for name, tensor in weights.items() if name not in left}
    return kept, [f"has {few(left, _SHOWN)}, which hold no weights and are left out"] if left else []


def _check_types(weights: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ArtifactError where whole numbers stand for weights: copied as they are they would mean other values."""
    wrong = [
        f"{name} is {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in weights.items()
        if name in state and torch.is_floating_point(state[name]) and not torch.is_floating_point(tensor)
    ]
    if wrong:
        raise ArtifactError(
            f"{path} does not hold the network's weights as floats ({few(wrong, _SHOWN)}); save them as they are "
            "before they are quantized"
        )


def _left_out(names: set[str]) -> str:
    """Return what is said of tensors that are of another network."""
    return f"holds {len(names):,} more tensors, which are left out: {few(sorted(names), _SHOWN)}"


def _plain(tensor: Tensor) -> Tensor:
    """Return a parameter as a tensor."""
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor

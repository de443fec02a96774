"""The names of weights: how wrappers and other trainers change them, and which names hold no weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

# Modules that wrap another one, or a part of it: DataParallel, torch.compile, FSDP, checkpointing.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
# Floats that are not weights: computed from the network's sizes, counters, and leftovers of a profiler.
_COMPUTED = {"attn_mask", "relative_coords_table", "inv_freq", "n_averaged", "total_ops", "total_params"}
# Maximum number of nested wrappers; each is tried on every name.
_MAX_WORDS = 32
_AVERAGED = {"ema", "swa", "averaged", "average", "avg", "polyak", "shadow"}


def holds_no_weight(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor of a state dict is a counter, an index, or another value that is not trained."""
    return not (tensor.is_floating_point() or tensor.is_complex()) or name.rpartition(".")[2] in _COMPUTED


def averages(place: str) -> bool:
    """Return whether the name of a place in a file, such as `state_dict_ema`, is that of averaged weights."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", place).lower())
    return not _AVERAGED.isdisjoint(words)


def under_wrappers(names: Collection[str], wanted: Iterable[str]) -> dict[str, str]:
    """Map each name to the one without the words of wrappers inside of it, as in `features.module.0`.

    Prefixes that all names share are left to `fitting_prefixes`; words that the network itself uses are kept.
    """
    words = _WRAPPERS - {word for name in wanted for word in name.split(".")}
    begin = _beginnings(names)[-1]
    bare = {name: begin + _without(name.removeprefix(begin), words) for name in names}
    return bare if len(set(bare.values())) == len(bare) else {name: name for name in names}


def _without(name: str, words: Collection[str]) -> str:
    """Return a name without some of its words."""
    return ".".join(part for part in name.split(".") if part not in words)


def fitting_prefixes(names: Iterable[str], wanted: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return the prefix to remove from all names, and the one to add, so that most of them match a network's."""
    names = list(names)
    best = (sum(name in wanted for name in names), 0, "", "")
    for number, (begin, before) in enumerate(
        ((begin, before) for begin in _beginnings(names) for before in _beginnings(wanted)), 1
    ):
        count = sum(before + name.removeprefix(begin) in wanted for name in names)
        best = max(best, (count, -number, begin, before))
    return (best[2], best[3]) if best[0] else ("", "")


def _beginnings(names: Iterable[str]) -> list[str]:
    """Return the prefixes that all names share, with the dot, shortest first: none, `a.`, `a.b.`"""
    names = list(names)
    found = [""]
    while names and len(found) <= _MAX_WORDS:
        word = names[0][len(found[-1]) :].partition(".")[0]
        longer = f"{found[-1]}{word}."
        if not all(name.startswith(longer) and name != longer for name in names):
            break
        found.append(longer)
    return found

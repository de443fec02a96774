"""The names of weights: what wrappers and other trainers make of them, and which names hold no weight at all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

# Modules that stand around another one, or around a part of it: DataParallel, torch.compile, FSDP, checkpointing.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
# What a network computes from its sizes, or counts, and a profiler leaves behind: floats, and no weights.
_COMPUTED = {"attn_mask", "relative_coords_table", "inv_freq", "n_averaged", "total_ops", "total_params"}
# So many wrappers stand around one another at most; each is tried on every name.
_MAX_WORDS = 32
_AVERAGED = {"ema", "swa", "averaged", "average", "avg", "polyak", "shadow"}


def holds_no_weight(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor of a state dict is a counter, an index, or another value that no training finds."""
    return not (tensor.is_floating_point() or tensor.is_complex()) or name.rpartition(".")[2] in _COMPUTED


def averages(place: str) -> bool:
    """Return whether what stands in a place of a file is called an average of weights, as `state_dict_ema` is."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", place).lower())
    return not _AVERAGED.isdisjoint(words)


def under_wrappers(names: Collection[str], wanted: Iterable[str]) -> dict[str, str]:
    """Return for each name the one without the words of wrappers inside of it, as in `features.module.0`.

    What all names begin with is left to `fitting_prefixes`, and a word that the network itself uses is no wrapper's.
    """
    words = _WRAPPERS - {word for name in wanted for word in name.split(".")}
    begin = _beginnings(names)[-1]
    bare = {name: begin + _without(name.removeprefix(begin), words) for name in names}
    return bare if len(set(bare.values())) == len(bare) else {name: name for name in names}


def _without(name: str, words: Collection[str]) -> str:
    """Return a name without some of its words."""
    return ".".join(part for part in name.split(".") if part not in words)


def fitting_prefixes(names: Iterable[str], wanted: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return what to leave out before all names, and what to put there, so that most of them are a network's."""
    names = list(names)
    best = (sum(name in wanted for name in names), 0, "", "")
    for number, (begin, before) in enumerate(
        ((begin, before) for begin in _beginnings(names) for before in _beginnings(wanted)), 1
    ):
        count = sum(before + name.removeprefix(begin) in wanted for name in names)
        best = max(best, (count, -number, begin, before))
    return (best[2], best[3]) if best[0] else ("", "")


def _beginnings(names: Iterable[str]) -> list[str]:
    """Return the words with which all names begin, dot included, the shortest first: none, `a.`, `a.b.`"""
    names = list(names)
    found = [""]
    while names and len(found) <= _MAX_WORDS:
        word = names[0][len(found[-1]) :].partition(".")[0]
        longer = f"{found[-1]}{word}."
        if not all(name.startswith(longer) and name != longer for name in names):
            break
        found.append(longer)
    return found

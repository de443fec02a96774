"""The kinds of data that the settings of a config are for, and the kinds that fit all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint
from nnrun.base.targets import KINDS
from nnrun.config.auto import AUTO, Auto
from nnrun.config.folders import option_file, options
from nnrun.config.yaml_files import read_yaml

# The kinds of samples: images, `(C, H, W)`, the rows of a table, texts, `(L,)`, or something else.
SAMPLES = ("images", "tables", "texts", "other")
# The name of a kind of data in messages, where it differs.
_SAID = {"other": "samples of another kind"}


@dataclass(frozen=True)
class Claim:
    """The kinds of data that fit a setting, at `key`, or that the data set has.

    `subject` is the source of the claim: a word of the command line, or the class that a section names; `is_saved`
    where it comes from a checkpoint.
    """

    key: str
    kinds: frozenset[str]
    subject: str
    verb: str
    is_saved: bool = False

    def __str__(self) -> str:
        if self.subject.startswith("data.targets="):
            return self.subject
        names = [_SAID.get(kind, kind) for kind in (*KINDS, *SAMPLES) if kind in self.kinds]
        subject = self.subject if "=" in self.subject or self.is_of_auto else _words_for(self.key, self.subject)
        return f"{subject} {self.verb} {' or '.join(names)}"

    @property
    def is_of_auto(self) -> bool:
        """Whether the source is a setting that only some options of an `auto` take."""
        return "." in self.key


def claims(config: DictConfig, autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]) -> Iterator[Claim]:
    """Yield the claims of a config about the kind of its data; `known` has the kinds that each class of ours is for."""
    for key, verb in (("problem", "learns"), ("loss", "is for"), ("model", "takes")):
        target = str(_selected(config, f"{key}._target_"))
        if key not in autos and target in known:
            yield Claim(key, frozenset(known[target]), target, verb)
    target = str(_selected(config, "data.dataset._target_"))
    kinds = known.get(target, ())
    yield from claims_of_data(_selected(config, "data.name"), kinds)
    kind = _selected(config, "data.targets")
    if kind in KINDS and set(KINDS).isdisjoint(kinds):
        yield Claim("data", frozenset([kind]), f"data.targets={kind}", "has")
    for auto in autos.values():
        for key in auto.beside:
            fitting = auto.takers(key)
            by_type = auto.takers(key, of_the_type=True)
            # Where the data is known to be of another kind, the type of the value is wrong, and the checks report it.
            if by_type and (by_type & set(kinds) or not set(kinds) & set(auto.options)):
                fitting = by_type
            if 0 < len(fitting) < len(auto.options):
                yield Claim(key, fitting, key, "is for")


def claims_of_data(name: object, kinds: Sequence[str]) -> Iterator[Claim]:
    """Yield the claims of a data set: the kind of its targets, and the kind of its samples."""
    for axis in (KINDS, SAMPLES):
        if fitting := frozenset(axis) & frozenset(kinds):
            yield Claim("data", fitting, f"data={name}", "has")


def _words_for(group: str, target: str) -> str:
    """Return the word that chooses a class: the option of ours whose file names it."""
    return next((f"{group}={option}" for option, named in _targets(group) if named == target), f"{group}={target}")


def _targets(group: str) -> Iterator[tuple[str, str]]:
    """Yield each option of ours of a group with the class that its file names."""
    for option in options(group, ()):
        path = option_file(group, option, ())
        section = read_yaml(path) if path is not None else {}
        if isinstance(target := section.get("dataset", section).get("_target_"), str):
            yield option, target


def fitting_kinds(
    stated: Sequence[Claim], autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[Complaint]]:
    """Return the kinds of data that fit all claims, and a complaint for each pair of claims that exclude each other.

    The first claim of such a pair holds.
    """
    kinds: list[str] = []
    problems: list[Complaint] = []
    for axis in (KINDS, SAMPLES):
        left = list(axis)
        holding: list[Claim] = []
        for claim in stated:
            if claim.kinds.isdisjoint(axis):
                continue
            still = [kind for kind in left if kind in claim.kinds]
            if still:
                left = still
                holding.append(claim)
            else:
                other = next((held for held in holding if claim.kinds.isdisjoint(held.kinds)), holding[-1])
                clash = _clash(claim, other, autos, known)
                problems += [] if any(clash.key == said.key for said in problems) else [clash]
        kinds += left
    return kinds, problems


def _clash(one: Claim, other: Claim, autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]) -> Complaint:
    """Complain of two claims that exclude each other."""
    for mine, theirs in ((one, other), (other, one)):
        if mine.is_of_auto:
            group = mine.key.partition(".")[0]
            becomes = autos[group].option([kind for kind in (*KINDS, *SAMPLES) if kind in theirs.kinds])
            means = f", for which {group}=auto means {becomes}" if becomes else ""
            return Complaint(mine.key, f"{mine.key} has no effect: {theirs}{means}; remove it", (theirs.key, group))
    if one.is_saved != other.is_saved:
        # A trained network cannot change.
        mine, theirs = (other, one) if one.is_saved else (one, other)
        hint = "name other data" if mine.key == "data" else "remove it"
        return Complaint(mine.key, f"{mine}, and {theirs}; {hint}", (theirs.key,))
    # The complaint is about the claim that is easier to change.
    mine, theirs = (one, other) if one.key == "loss" or other.key == "data" else (other, one)
    fitting = [name for name, target in _targets(mine.key) if not theirs.kinds.isdisjoint(known.get(target, ()))]
    ways = f"choose {mine.key}={' or '.join([AUTO, *fitting])}"
    suited = [name for name, target in _targets("data") if not mine.kinds.isdisjoint(known.get(target, ()))]
    if theirs.key == "data" and len(suited) == 1:
        ways += f", or data={suited[0]}"
    return Complaint(mine.key, f"{mine}, and {theirs}; {ways}", (theirs.key,))


def tell_data(config: DictConfig, stated: Sequence[Claim]) -> dict[str, str]:
    """Set data.targets to the kind that the problem or the loss is for, where it is auto.

    Returns what set each setting, by key.
    """
    section = _selected(config, "data.dataset")
    kinds = [kind for claim in stated if claim.key in ("problem", "loss") for kind in claim.kinds]
    takes = isinstance(section, DictConfig) and "targets" in section
    if not (kinds and takes and _selected(config, "data.targets") == AUTO):
        return {}
    config.data.targets = kinds[0]
    return {"data.targets": "the chosen loss or problem"}


def _selected(config: DictConfig, key: str) -> Any:
    """Return the value at a key; None where there is none or it cannot be resolved, which is reported elsewhere."""
    try:
        return OmegaConf.select(config, key, throw_on_missing=False)
    except OmegaConfBaseException:
        return None

"""`auto`: an option that follows from the data, by the kind of what is learned or of what a sample is.

A group's auto.yaml names an option for each kind of data; the first is assumed where nothing says more. What is set
beside, typed or by an experiment, is for each of these options that takes it, and rules the others out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint
from nnrun.base.targets import KINDS
from nnrun.checkpoints.aliases import with_current_names
from nnrun.config.folders import conf_dir, option_file, options
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.target_sections import Reference
from nnrun.config.yaml_files import read_yaml

AUTO = "auto"
# What a sample is: an image, `(C, H, W)`, or something else.
SAMPLES = ("images", "other")
# What a kind of data is called, where that is not its own name.
_SAID = {"other": "samples that are no images"}


@dataclass(frozen=True)
class Candidate:
    """An option that a group may become, its section, and what its file lists."""

    option: str
    section: DictConfig
    reference: Reference


@dataclass(frozen=True)
class Auto:
    """A group that is `auto`: the option for each kind of data, and the keys of what is set beside these."""

    group: str
    candidates: Mapping[str, Candidate]
    beside: tuple[str, ...] = ()

    def of(self, kinds: Sequence[str]) -> Candidate | None:
        """Return the option for the first of some kinds that there is one for."""
        return next((self.candidates[kind] for kind in kinds if kind in self.candidates), None)

    def with_value(self, key: str, value: Any) -> Auto:
        """Return it with a value set at a full key in each section that takes it; in all where none does, which the
        checks say then.
        """
        candidates = dict(self.candidates)
        for kind in self.takers(key) or frozenset(self.candidates):
            laid = OmegaConf.create({self.group: candidates[kind].section.copy()})
            with suppress(OmegaConfBaseException, ValueError, TypeError):  # it is said of what is assumed
                OmegaConf.update(laid, key, value, merge=True, force_add=True)
            candidates[kind] = replace(candidates[kind], section=laid[self.group])
        return replace(self, candidates=candidates, beside=(*self.beside, key))

    def takers(self, key: str) -> frozenset[str]:
        """Return the kinds whose option has a place for a full key."""
        name = key.split(".")[1]
        return frozenset(kind for kind, candidate in self.candidates.items() if name in candidate.reference.values)


@dataclass(frozen=True)
class Claim:
    """What a setting, at `key`, or the data itself says of the kind of the data: the kinds that fit.

    `subject` is what says so: words as a user may type them, or the class that a section names.
    """

    key: str
    kinds: frozenset[str]
    subject: str
    verb: str

    def __str__(self) -> str:
        if self.subject.startswith("data.targets="):
            return self.subject
        names = [_SAID.get(kind, kind) for kind in (*KINDS, *SAMPLES) if kind in self.kinds]
        subject = self.subject if "=" in self.subject or self.is_of_auto else _words_for(self.key, self.subject)
        return f"{subject} {self.verb} {' or '.join(names)}"

    @property
    def is_of_auto(self) -> bool:
        """Whether a setting says so that only some options of an `auto` take."""
        return "." in self.key


def read_autos(config: DictConfig, choices: Mapping[str, Sequence[str]], own: Sequence[Path]) -> dict[str, Auto]:
    """Return the groups whose option is `auto`, and put in their place in the config what is assumed."""
    found = {}
    for group, names in choices.items():
        path = option_file(group, AUTO, own) if list(names) == [AUTO] and group not in NAMED_SECTIONS else None
        if path is None:
            continue
        kinds, section = list(read_yaml(path)), config[group]
        auto = Auto(group, {kind: _candidate(group, str(section[kind]), own) for kind in kinds})
        for key in section:
            if key not in kinds:
                auto = auto.with_value(f"{group}.{key}", section._get_node(key))
        found[group] = auto
        config[group] = next(iter(auto.candidates.values())).section.copy()
    return found


def _candidate(group: str, option: str, own: Sequence[Path]) -> Candidate:
    """Return an option of a group as its file has it."""
    path = option_file(group, option, own)
    assert path is not None, f"conf/{group}/auto.yaml names {option}"
    content = with_current_names(read_yaml(path))
    section = OmegaConf.create(content)
    assert isinstance(section, DictConfig)
    return Candidate(option, section, Reference(content, complete=path.parents[1] == conf_dir()))


def tell_data(config: DictConfig, stated: Sequence[Claim]) -> None:
    """Let data that can be read as several kinds of targets be of the kind that the problem or the loss is for."""
    section = OmegaConf.select(config, "data.dataset", throw_on_missing=False) or {}
    kinds = [kind for claim in stated if claim.key in ("problem", "loss") for kind in claim.kinds]
    if kinds and "targets" in section and config.data.get("targets") == AUTO:
        config.data.targets = kinds[0]


def targets_of(auto: Auto | None, kinds: Sequence[str]) -> list[str]:
    """Return the classes that a group may become for some kinds of data; of one that is no `auto`, none."""
    return [str(auto.candidates[kind].section._target_) for kind in kinds if kind in auto.candidates] if auto else []


def claims(config: DictConfig, autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]) -> Iterator[Claim]:
    """Yield what a config says of the kind of its data; `known` has the kinds that each class of ours is for."""
    for key, verb in (("problem", "learns"), ("loss", "is for")):
        target = str(OmegaConf.select(config, f"{key}._target_", throw_on_missing=False))
        if key not in autos and target in known:
            yield Claim(key, frozenset(known[target]), target, verb)
    target = str(OmegaConf.select(config, "data.dataset._target_", throw_on_missing=False))
    kinds = known.get(target, ())
    yield from claims_of_data(config.data.get("name"), kinds)
    kind = OmegaConf.select(config, "data.targets", throw_on_missing=False)
    if kind in KINDS and set(KINDS).isdisjoint(kinds):
        yield Claim("data", frozenset([kind]), f"data.targets={kind}", "has")
    for auto in autos.values():
        for key in auto.beside:
            fitting = auto.takers(key)
            if 0 < len(fitting) < len(auto.candidates):
                yield Claim(key, fitting, key, "is for")


def claims_of_data(name: object, kinds: Sequence[str]) -> Iterator[Claim]:
    """Yield what is known of the data of a name: the kind of its targets, and that of its samples."""
    for axis in (KINDS, SAMPLES):
        if fitting := frozenset(axis) & frozenset(kinds):
            yield Claim("data", fitting, f"data={name}", "has")


def _words_for(group: str, target: str) -> str:
    """Return the words that choose a class: the option of ours whose file names it."""
    return next((f"{group}={option}" for option, named in _targets(group) if named == target), f"{group}={target}")


def _targets(group: str) -> Iterator[tuple[str, str]]:
    """Yield each option of ours of a group with the class that its file names."""
    for option in options(group, ()):
        path = option_file(group, option, ())
        if path is not None and isinstance(target := read_yaml(path).get("_target_"), str):
            yield option, target


def fitting_kinds(
    stated: Sequence[Claim], autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[Complaint]]:
    """Return the kinds of data that fit all that is stated, and a complaint of each two statements that exclude each
    other; of those the first holds.
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
                problems.append(_clash(claim, other, autos, known))
        kinds += left
    return kinds, problems


def _clash(one: Claim, other: Claim, autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]) -> Complaint:
    """Complain of two statements of which one at most is true of any data."""
    for mine, theirs in ((one, other), (other, one)):
        if mine.is_of_auto:
            group = mine.key.partition(".")[0]
            becomes = autos[group].of([kind for kind in (*KINDS, *SAMPLES) if kind in theirs.kinds])
            means = f", for which {group}=auto means {becomes.option}" if becomes else ""
            return Complaint(mine.key, f"{mine.key} has no effect: {theirs}{means}; leave it out", (theirs.key, group))
    # About what is easier to change.
    mine, theirs = (one, other) if one.key == "loss" or other.key == "data" else (other, one)
    fitting = [name for name, target in _targets(mine.key) if not theirs.kinds.isdisjoint(known.get(target, ()))]
    return Complaint(
        mine.key, f"{mine}, and {theirs}; choose {mine.key}={' or '.join([AUTO, *fitting])}", (theirs.key,)
    )

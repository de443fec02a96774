"""`auto`: an option that follows from the data, by the kind of what is learned or of what a sample is.

A group's auto.yaml names an option for each kind of data; the first is assumed where nothing says more. What is set
beside, typed or by an experiment, is for each of these options that takes it, and rules the others out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint, ConfigError
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
class Auto:
    """A group that is `auto`: its option for each kind of data, and what is set beside these, by full key.

    `own` are the user's folders of options. The file of an option is read when it is asked for.
    """

    group: str
    options: Mapping[str, str]
    own: Sequence[Path]
    beside: Mapping[str, Any] = field(default_factory=dict)

    def option(self, kinds: Sequence[str]) -> str | None:
        """Return the option for the first of some kinds that there is one for."""
        return next((self.options[kind] for kind in kinds if kind in self.options), None)

    @property
    def assumed(self) -> str:
        """The option that is assumed."""
        return next(iter(self.options.values()))

    def with_value(self, key: str, value: Any) -> Auto:
        """Return it with a value set at a full key."""
        return replace(self, beside={**self.beside, key: value})

    def reference(self, option: str) -> Reference:
        """Return what the file of an option lists."""
        path = option_file(self.group, option, self.own)
        if path is None:
            names = ", ".join(name for name in options(self.group, self.own) if name != AUTO)
            raise ConfigError(f"{self.group}=auto cannot become {option}; there are {names}")
        return Reference(with_current_names(read_yaml(path)), complete=path.parents[1] == conf_dir())

    def takers(self, key: str) -> frozenset[str]:
        """Return the kinds whose option has a place for a full key."""
        name = key.split(".")[1]
        return frozenset(kind for kind, option in self.options.items() if name in self.reference(option).values)

    def section(self, option: str) -> DictConfig:
        """Return the section of an option, with the values beside it that it takes, or that none takes.

        The latter are mistakes, which the checks find.
        """
        tree = OmegaConf.create({self.group: dict(self.reference(option).values)})
        for key, value in self.beside.items():
            takers = {self.options[kind] for kind in self.takers(key)}
            if option in takers or not takers:
                with suppress(OmegaConfBaseException, ValueError, TypeError):  # it is said where it is typed
                    OmegaConf.update(tree, key, value, merge=True, force_add=True)
        section = tree[self.group]
        assert isinstance(section, DictConfig)
        return section


@dataclass(frozen=True)
class Claim:
    """What a setting, at `key`, or the data itself says of the kind of the data: the kinds that fit.

    `subject` is what says so: words as a user may type them, or the class that a section names; `is_saved` where that
    is a checkpoint's.
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
        """Whether a setting says so that only some options of an `auto` take."""
        return "." in self.key


def read_autos(config: DictConfig, choices: Mapping[str, Sequence[str]], own: Sequence[Path]) -> dict[str, Auto]:
    """Return the groups whose option is `auto`, and replace each in the config by the option that is assumed."""
    found = {}
    for group, names in choices.items():
        path = option_file(group, AUTO, own) if list(names) == [AUTO] and group not in NAMED_SECTIONS else None
        if path is None:
            continue
        kinds, section = list(read_yaml(path)), config.get(group)
        if not isinstance(section, DictConfig):
            continue  # what an experiment made of it is said where the config is checked
        beside = {f"{group}.{key!s}": section._get_node(key) for key in section if key not in kinds}
        found[group] = auto = Auto(group, {kind: str(section[kind]) for kind in kinds}, own, beside)
        config[group] = auto.section(auto.assumed)
    return found


def become(
    config: DictConfig, autos: Mapping[str, Auto], now: Mapping[str, str], kinds: Sequence[str]
) -> dict[str, Reference]:
    """Replace in a config each `auto` by its option for some kinds of data, where that is another than `now`.

    Returns what the files of these list, by group.
    """
    options = {group: option for group, auto in autos.items() if (option := auto.option(kinds)) is not None}
    other = {group: option for group, option in options.items() if option != now.get(group)}
    for group, option in other.items():
        config[group] = autos[group].section(option)
    return {group: autos[group].reference(option) for group, option in other.items()}


def tell_data(config: DictConfig, stated: Sequence[Claim]) -> None:
    """Let data that can be read as several kinds of targets be of the kind that the problem or the loss is for."""
    section = _selected(config, "data.dataset")
    kinds = [kind for claim in stated if claim.key in ("problem", "loss") for kind in claim.kinds]
    takes = isinstance(section, DictConfig) and "targets" in section
    if kinds and takes and _selected(config, "data.targets") == AUTO:
        config.data.targets = kinds[0]


def _selected(config: DictConfig, key: str) -> Any:
    """Return what stands at a key; None where nothing does, or what cannot be known, which is said elsewhere."""
    try:
        return OmegaConf.select(config, key, throw_on_missing=False)
    except OmegaConfBaseException:
        return None


def targets_of(auto: Auto | None, kinds: Sequence[str]) -> list[str]:
    """Return the classes that a group may become for some kinds of data; of one that is no `auto`, none."""
    names = dict.fromkeys(auto.options[kind] for kind in kinds if kind in auto.options) if auto else ()
    return [str(auto.reference(name).values.get("_target_")) for name in names] if auto else []


def claims(config: DictConfig, autos: Mapping[str, Auto], known: Mapping[str, Sequence[str]]) -> Iterator[Claim]:
    """Yield what a config says of the kind of its data; `known` has the kinds that each class of ours is for."""
    for key, verb in (("problem", "learns"), ("loss", "is for")):
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
            if 0 < len(fitting) < len(auto.options):
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
    """Return the kinds of data that fit all claims, and a complaint for each two claims that exclude each other.

    Of two such claims the first holds.
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
            return Complaint(mine.key, f"{mine.key} has no effect: {theirs}{means}; leave it out", (theirs.key, group))
    if one.is_saved != other.is_saved:
        # A trained network stays what it is.
        mine, theirs = (other, one) if one.is_saved else (one, other)
        hint = "name other data" if mine.key == "data" else "leave it out"
        return Complaint(mine.key, f"{mine}, and {theirs}; {hint}", (theirs.key,))
    # About what is easier to change.
    mine, theirs = (one, other) if one.key == "loss" or other.key == "data" else (other, one)
    fitting = [name for name, target in _targets(mine.key) if not theirs.kinds.isdisjoint(known.get(target, ()))]
    return Complaint(
        mine.key, f"{mine}, and {theirs}; choose {mine.key}={' or '.join([AUTO, *fitting])}", (theirs.key,)
    )

"""The only caller of instantiate: it knows what may be named, checks the parameters, and checks what came out."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

import torch
from hydra.utils import instantiate
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nnrun.check import not_taken
from nnrun.core.seams import Augmentation, DataSource, Exporter, Logger, Mixing, Preprocessing
from nnrun.errors import ArtifactError, ConfigError, NnrunError, did_you_mean
from nnrun.faults import lacks_memory, lacks_package, place_of
from nnrun.secrets import hide
from nnrun.settings import NAMED_SECTIONS

Built = TypeVar("Built")

# What each section builds. Protocols are compared by the methods that they ask for.
KINDS: dict[str, type | UnionType] = {
    "model": nn.Module,
    "loss": nn.Module,
    "optimizer": torch.optim.Optimizer,
    "scheduler": LRScheduler,
    "data.dataset": DataSource,
    "augment": Augmentation | Mixing,
    "export": Exporter,
    "logger": Logger,
    "preprocessing": Preprocessing,
}
# By these a data set of the user's own is told which part to give.
PART_PARAMETERS = ("train", "split")
# How many positional arguments the builder gives: parameters that no YAML names.
_GIVEN = {"optimizer": 1, "scheduler": 1}
# What a text must begin with, if it is to be imported to find out what it names.
SHIPPED_ROOTS = ("nnrun.", "torch.nn.", "torch.optim.")
# Where the classes lie that a checkpoint may name in a section. The resolved object is compared, not the text: texts
# can lie. Having the methods of a kind is not enough: nnrun has classes with `__call__` that start a process.
_SHIPPED: dict[str, tuple[str, ...]] = {
    "model": ("nnrun.models.", "torch.nn.modules."),
    "loss": ("nnrun.losses.", "torch.nn.modules."),
    "optimizer": ("nnrun.optimizers.", "torch.optim."),
    "scheduler": ("nnrun.schedulers.", "torch.optim."),
    "data.dataset": ("nnrun.data.",),
    "augment": ("nnrun.augment.",),
    "export": ("nnrun.exporters.",),
    "logger": ("nnrun.loggers.",),
    "preprocessing": ("nnrun.data.",),
}


def target_sections(tree: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return every section of a resolved config that has a `_target_`, by its full name."""
    named = {
        f"{group}.{name}": section for group in NAMED_SECTIONS for name, section in (tree.get(group) or {}).items()
    }
    sections = {name: tree[name] for name in ("model", "loss", "optimizer", "scheduler") if tree.get(name)}
    if tree["data"]["dataset"]:
        sections["data.dataset"] = tree["data"]["dataset"]
    return sections | named


def check_targets(tree: Mapping[str, Any], own: Sequence[str], trust: Sequence[str]) -> None:
    """Raise ConfigError with all that is wrong with the `_target_`s of a config; ArtifactError for one not trusted.

    `own` names the sections that the user's own YAML or command line gave. The others came out of a checkpoint: they
    may name only what nnrun ships, and modules in `trust`.
    """
    problems: list[str] = []
    for name, section in target_sections(tree).items():
        if name not in own:
            check_trust(name, section, trust)
        try:
            _check_target(name, section)
        except ConfigError as error:
            problems += error.messages
        else:
            if name == "data.dataset" and map_style_parameters(section) is None:
                problems += not_taken(tree["data"], section)
    if problems:
        raise ConfigError(*problems)


def build(section: Mapping[str, Any], name: str, kind: type[Built] | UnionType, *given: Any, **late: Any) -> Built:
    """Return what a checked section builds; `late` replaces parameters that only the run knows.

    Raises ConfigError where the class refuses its parameters, or where what came out is no `kind`.
    """
    if not isinstance(section.get("_target_"), str):
        raise ConfigError(f"{name} has no _target_")
    try:
        built = instantiate({**section, **late}, *given, _convert_="all")
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, NnrunError):
            cause = cause.__cause__
        if isinstance(cause, NnrunError):
            raise cause from None
        if lacks_memory(cause):
            raise ConfigError(f"{name}: {section['_target_']} asks for more memory than there is") from error
        reason = f"{type(cause).__name__}: {hide(str(cause), dict(section))}{place_of(cause)}"
        raise ConfigError(f"{name}: {section['_target_']} cannot be built: {reason}") from error
    if not is_kind(built, kind):
        lacks = _lacking(built, kind)
        why = f": it lacks {', '.join(lacks)}" if lacks else ""
        raise ConfigError(f"{name}: {section['_target_']} gives {_a(type(built))}, not {_a(kind)}{why}")
    return built


def published_weights(section: Mapping[str, Any], *, only_check: bool = False) -> Any:
    """Return the weights that are published for the network of a section, fetched unless they are on this machine.

    Raises ConfigError where nobody publishes any that nnrun knows of; with `only_check` that is all.
    """
    find = getattr(_import("model", section["_target_"]), "published_weights", None)
    if find is None:
        name = section["_target_"].rpartition(".")[2]
        hint = "name a file with transfer.weights=PATH, or choose model=resnet18, torchvision or timm"
        raise ConfigError(f"transfer.weights=default: no weights are published for {name}; {hint}")
    return None if only_check else find(section)


def is_kind(value: object, kind: type | UnionType) -> bool:
    """Return whether an object, or the instances of a class, do what `kind` asks for."""
    if isinstance(kind, UnionType):
        return any(is_kind(value, option) for option in get_args(kind))
    if getattr(kind, "_is_protocol", False):
        # Attributes are an instance's: a class may set them when it is built.
        attributes = [] if isinstance(value, type) else list(kind.__annotations__)
        methods = all(_has_method(value, method) for method in _methods(kind))
        return methods and all(hasattr(value, name) for name in attributes)
    return issubclass(value, kind) if isinstance(value, type) else isinstance(value, kind)


def _lacking(value: object, kind: type | UnionType) -> list[str]:
    """Return what an object lacks of a protocol."""
    if not getattr(kind, "_is_protocol", False):
        return []
    attributes = [name for name in kind.__annotations__ if not hasattr(value, name)]
    return [name for name in _methods(kind) if not _has_method(value, name)] + attributes  # type: ignore[arg-type]


def _a(kind: type | UnionType) -> str:
    """Return the name of a class with its article; of a choice of classes, all names."""
    if isinstance(kind, UnionType):
        return " or ".join(_a(option) for option in get_args(kind))
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def is_map_style(kind: type) -> bool:
    """Return whether a class is a data set of torch's kind: a sample by its index, and a length."""
    is_source = is_kind(kind, DataSource)
    return not is_source and all(callable(getattr(kind, name, None)) for name in ("__getitem__", "__len__"))


def map_style_parameters(section: Mapping[str, Any]) -> list[str] | None:
    """Return the parameters of the class that `data.dataset` names, if that is a data set of torch's kind."""
    found = _import("data.dataset", str(section["_target_"]))
    return parameters_of(section["_target_"]) if isinstance(found, type) and is_map_style(found) else None


def _methods(protocol: type) -> list[str]:
    """Return the methods that a protocol asks for: the public ones, and being called."""
    members = vars(protocol).items()
    return [name for name, member in members if callable(member) and (name == "__call__" or name[0] != "_")]


def _has_method(value: object, name: str) -> bool:
    """Return whether an object, or the instances of a class, have a method."""
    if name == "__call__":
        # A class is itself called to make an instance: what counts is what its instances have.
        bases = value.__mro__ if isinstance(value, type) else type(value).__mro__
        return any(name in vars(base) for base in bases)
    return callable(getattr(value, name, None))


def targets_in(node: Any) -> list[str]:
    """Return every `_target_` in a section, nested ones too."""
    if isinstance(node, Mapping):
        own = [node["_target_"]] if isinstance(node.get("_target_"), str) else []
        return own + [target for value in node.values() for target in targets_in(value)]
    if isinstance(node, list):
        return [target for value in node for target in targets_in(value)]
    return []


def check_trust(name: str, section: Mapping[str, Any], trust: Sequence[str]) -> None:
    """Raise ArtifactError unless a checkpoint may name every `_target_` in this section.

    Nothing of a stranger's is imported to find out.
    """
    for target in targets_in(section):
        module = target.rpartition(".")[0]
        if any(module == trusted or module.startswith(trusted + ".") for trusted in trust):
            continue
        if not _is_shipped(target, _section_of(name)):
            raise ArtifactError(
                f"the checkpoint's {name}._target_ is {target!r}, which nnrun does not ship for that; "
                f"if you trust it, add trust=[{module or target}], or name your own {name.partition('.')[0]}="
            )


def _is_shipped(target: str, section: str) -> bool:
    """Return whether a target is a public class of nnrun's or torch's own that is made for its section."""
    if not target.startswith(SHIPPED_ROOTS):
        return False
    try:
        found = _import("", target)
    except ConfigError:
        return False
    if not isinstance(found, type) or found.__name__.startswith("_"):
        return False
    true_name = f"{found.__module__}.{found.__qualname__}"
    return true_name.startswith(_SHIPPED[section]) and is_kind(found, KINDS[section])


def _section_of(name: str) -> str:
    """Return the key in KINDS of a section, by its full name: of one among several of a group, the group's."""
    return name if name in KINDS else name.partition(".")[0]


def _check_target(name: str, section: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a target can be imported, is of its section's kind, and takes the parameters given."""
    target = section["_target_"]
    kind = KINDS[_section_of(name)]
    found = _import(name, target)
    if isinstance(found, type):
        if not is_kind(found, kind) and not (name == "data.dataset" and is_map_style(found)):
            raise ConfigError(f"{name}._target_={target} is not allowed: it is not {_a(kind)}")
    elif not callable(found) or getattr(found, "__module__", "").partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"{name}._target_={target} is not allowed: name {_a(kind)}, or a function that makes one")
    if name == "optimizer" and _needs_closure(found):
        raise ConfigError(
            f"{name}._target_={target} is not allowed: its step evaluates the loss several times, and the training "
            "loop takes one gradient an update"
        )
    problems = list(_check_parameters(name, section, found))
    if problems:
        raise ConfigError(*problems)
    # A class of ours may know more of its parameters than their names.
    check_parameters = getattr(found, "check_parameters", None)
    if check_parameters is not None and target.startswith("nnrun."):
        check_parameters(section)


def _needs_closure(optimizer: Any) -> bool:
    """Return whether an optimizer's step must be given a function that computes the loss anew."""
    step = getattr(optimizer, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    return closure is not None and closure.default is inspect.Parameter.empty


def _import(name: str, target: str) -> Any:
    """Return what `module.attribute` names; raise ConfigError saying which part of it is not there."""
    module_name, _, attribute = target.rpartition(".")
    try:
        module = importlib.import_module(module_name) if module_name else None
    except ModuleNotFoundError as error:
        is_target = error.name is not None and (module_name + ".").startswith(error.name + ".")
        if not is_target and module_name.startswith("nnrun."):
            raise lacks_package(name, error) from error
        where = f"a module of your own belongs in {Path.cwd()}" if is_target else f"{module_name} imports it"
        raise ConfigError(f"{name}._target_={target} cannot be imported: {error.msg}; {where}") from error
    except Exception as error:
        reason = f"{module_name} fails with {type(error).__name__}: {error}{place_of(error)}"
        raise ConfigError(f"{name}._target_={target} cannot be imported: {reason}") from error
    if module is None:
        raise ConfigError(f"{name}._target_={target} names no module; write module.{target}")
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, [key for key in vars(module) if not key.startswith("_")])
        raise ConfigError(
            f"{name}._target_={target} cannot be imported: {module_name} has no {attribute!r}{hint and '; ' + hint}"
        )
    return getattr(module, attribute)


def _check_parameters(name: str, section: Mapping[str, Any], found: Callable[..., Any]) -> list[str]:
    """Return a message for each parameter that a target does not take, or lacks."""
    try:
        parameters = dict(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        return []
    for given in list(parameters)[: _GIVEN.get(name, 0)]:
        del parameters[given]
    takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    names = [key for key, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    problems = []
    for key in section:
        if key not in names and not takes_all and not (key.startswith("_") and key.endswith("_")):
            hint = did_you_mean(key, names) or f"it takes {', '.join(names) or 'none'}"
            problems.append(f"{name}.{key} is not a parameter of {section['_target_']}; {hint}")
    for key in names:
        is_ours = name == "data.dataset" and key in PART_PARAMETERS
        if parameters[key].default is inspect.Parameter.empty and key not in section and "_args_" not in section:
            if is_ours:
                continue
            problems.append(f"{name}.{key} must be given: {section['_target_']} needs it")
    return problems


def parameters_of(target: str) -> list[str]:
    """Return the names of the parameters that a target takes."""
    return list(inspect.signature(_import("target", target)).parameters)

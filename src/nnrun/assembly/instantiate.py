"""The only caller of instantiate: it checks the target, its parameters, and the result."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar

from hydra.utils import instantiate

from nnrun.assembly.allowed import check_trust, import_target, parameters_of, target_sections, targets_in, wrong_target
from nnrun.assembly.kinds import KINDS, in_words, is_adapted, is_kind, is_map_style, lacking, section_of
from nnrun.base.errors import Complaint, ConfigError, NnrunError, OutOfMemory, did_you_mean
from nnrun.base.foreign_errors import lacks_memory, place_of, said_by
from nnrun.base.secrets import hide
from nnrun.config.data_settings import not_taken
from nnrun.config.schema import TAKEN_BY_MAP_STYLE
from nnrun.config.task import Task
from nnrun.config.yaml_files import keys_that_are_no_texts

Built = TypeVar("Built")

# Parameters by which a custom data set is asked for one split.
PART_PARAMETERS = ("train", "split")
# The number of positional arguments that the caller of `build` passes: parameters that no YAML names.
_GIVEN = {"optimizer": 1, "scheduler": 1, "problem": 1}


def check_targets(
    tree: Mapping[str, Any],
    own: Sequence[str],
    trust: Sequence[str],
    task: Task | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Raise ConfigError with all faults of the `_target_`s of a config; ArtifactError for untrusted ones.

    `own` names the sections that the user's YAML or command line gave. The others, and `preprocessing` if it is given,
    come from a checkpoint: they may name only classes that nnrun ships, and modules in `trust`. Sections that `task`
    does not build are not checked.
    """
    problems: list[Complaint] = []
    sections = {
        name: section for name, section in target_sections(tree).items() if task is None or task.builds_section(name)
    }
    saved = {name: section for name, section in sections.items() if name not in own}
    check_trust(saved | ({} if preprocessing is None else {"preprocessing": preprocessing}), trust)
    for name, section in sections.items():
        try:
            _check_target(name, section)
        except ConfigError as error:
            problems += error.about(name).complaints
        else:
            if name == "data.dataset":
                is_own = map_style_parameters(section) is not None
                problems += not_taken(tree["data"], dict.fromkeys(TAKEN_BY_MAP_STYLE) if is_own else section)
    if problems:
        raise ConfigError(*problems)


def build(section: Mapping[str, Any], name: str, kind: type[Built] | UnionType, *given: Any, **late: Any) -> Built:
    """Build the object of a checked section; `late` replaces parameters that only the run knows.

    Raises ConfigError where the class refuses its parameters, or where the result is not a `kind`.
    """
    target = section.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(Complaint(name, f"{name} has no _target_"))
    try:
        built = _made({**section, **late}, name, given)
    except Exception as error:
        cause = _first_cause(error)
        if isinstance(cause, NnrunError):
            raise cause.about(name) from None
        if lacks_memory(cause):
            what = f"out of memory: {name}: {target} needs more memory than this machine has"
            raise OutOfMemory(what, f"smaller settings of {name}, or another {name}") from error
        text = f"{name}: {target} cannot be built: {hide(said_by(cause), dict(section))}{place_of(cause)}"
        raise ConfigError(Complaint(name, text)) from error
    if not is_kind(built, kind):
        lacks = lacking(built, kind)
        why = f": it lacks {', '.join(lacks)}" if lacks else ""
        text = f"{name}: {target} returns {in_words(type(built))}, not {in_words(kind)}{why}"
        raise ConfigError(Complaint(name, text))
    return built


def _made(section: Mapping[str, Any], name: str, given: Sequence[Any]) -> Any:
    """Return what the target of a section makes.

    Hydra makes what has parts with a `_target_`, or words of Hydra's own. A section without is a call with its values:
    copying and resolving them anew would take several times as long as making most objects.
    """
    values = {key: value for key, value in section.items() if key != "_target_"}
    if any(key.startswith("_") for key in values) or targets_in(values):
        return instantiate(dict(section), *given, _convert_="all")
    return import_target(name, section["_target_"])(*given, **{key: _own(value) for key, value in values.items()})


def _own(value: Any) -> Any:
    """Return a copy of a tree of dicts and lists: what is built may keep and change it."""
    if isinstance(value, Mapping):
        return {key: _own(part) for key, part in value.items()}
    return [_own(part) for part in value] if isinstance(value, list | tuple) else value


def _first_cause(error: BaseException) -> BaseException:
    """Return the original cause of an error from Hydra; nnrun's own errors are returned as they are."""
    while error.__cause__ is not None and not isinstance(error, NnrunError):
        error = error.__cause__
    return error


def published_weights(section: Mapping[str, Any], *, only_check: bool = False) -> Any:
    """Return the weights that are published for the network of a section, downloaded unless they are cached.

    Raises ConfigError where no published weights are known; with `only_check` nothing else is done.
    """
    find = getattr(import_target("model", section["_target_"]), "published_weights", None)
    if find is None:
        name = section["_target_"].rpartition(".")[2]
        hint = "use transfer.weights=PATH for a file, or model=resnet18, torchvision or timm"
        text = f"transfer.weights=default: no weights are published for {name}; {hint}"
        raise ConfigError(Complaint("transfer.weights", text))
    return None if only_check else find(section)


def notes_on_network(section: Mapping[str, Any]) -> list[str]:
    """Return the notes of a class of nnrun's on surprising properties of the network of a section."""
    notes = said_by_class(section, "notes")
    return [] if notes is None else list(notes(section))


def said_by_class(section: Mapping[str, Any], name: str) -> Any:
    """Return the function called `name` of the network's class in a section, None if it has none.

    Only nnrun's classes are asked: elsewhere the name may mean something else.
    """
    target = str(section.get("_target_"))
    return getattr(import_target("model", target), name, None) if target.startswith("nnrun.") else None


def map_style_parameters(section: Mapping[str, Any]) -> list[str] | None:
    """Return the parameters of the class that `data.dataset` names, if it is a map-style data set of torch's kind."""
    found = import_target("data.dataset", str(section["_target_"]))
    return parameters_of(section["_target_"]) if isinstance(found, type) and is_map_style(found) else None


def _check_target(name: str, section: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a target can be imported, is of its section's kind, and takes the parameters given."""
    target = section["_target_"]
    found = import_target(name, target)
    _check_kind(name, target, found)
    if name == "optimizer" and _needs_closure(found):
        why = "its step evaluates the loss several times, but the training loop computes one gradient per step"
        raise wrong_target(name, target, f"is not allowed: {why}")
    problems = list(_check_parameters(name, section, found))
    if problems:
        raise ConfigError(*problems)
    # A class of nnrun's may check more of its parameters than their names.
    check_parameters = getattr(found, "check_parameters", None)
    if check_parameters is not None and target.startswith("nnrun."):
        check_parameters(section)


def _check_kind(name: str, target: str, found: Any) -> None:
    """Raise ConfigError unless a target is a class of its section's kind, or a function that may return one."""
    kind = KINDS[section_of(name)]
    if isinstance(found, type):
        if not is_kind(found, kind) and not is_adapted(found, section_of(name)):
            other = ", nor a data set with __getitem__ and __len__" if name == "data.dataset" else ""
            raise wrong_target(name, target, f"is not allowed: it is not {in_words(kind)}{other}")
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            raise wrong_target(name, target, f"is not allowed: it lacks {', '.join(missing)}")
    elif not callable(found) or getattr(found, "__module__", "").partition(".")[0] in sys.stdlib_module_names:
        what = f"is not allowed: name {in_words(kind)}, or a function that returns one"
        raise wrong_target(name, target, what)


def _needs_closure(optimizer: Any) -> bool:
    """Return whether an optimizer's step requires a closure that computes the loss again."""
    step = getattr(optimizer, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    return closure is not None and closure.default is inspect.Parameter.empty


def _check_parameters(name: str, section: Mapping[str, Any], found: Callable[..., Any]) -> Iterator[Complaint]:
    """Yield a complaint for each parameter that a target does not take, and for each that is missing."""
    target = section["_target_"]
    if "_args_" in section and target.startswith("nnrun."):
        # All checks of parameters go by their names.
        key = f"{name}._args_"
        yield Complaint(key, f"{key} is not allowed: {target} takes its parameters by name")
        return
    try:
        parameters = list(inspect.signature(found).parameters.values())[_GIVEN.get(name, 0) :]
    except (TypeError, ValueError):
        return
    takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [parameter.name for parameter in named]
    for text in keys_that_are_no_texts(dict.fromkeys(section)):
        yield Complaint(name, f"{name}: {text}")
    for key in filter(lambda key: isinstance(key, str), section):
        if key not in names and not takes_all and not (key.startswith("_") and key.endswith("_")):
            hint = did_you_mean(key, names) or f"it takes {', '.join(names) or 'none'}"
            yield Complaint(f"{name}.{key}", f"{name}.{key} is not a parameter of {target}; {hint}")
    for parameter in named:
        full, is_ours = f"{name}.{parameter.name}", name == "data.dataset" and parameter.name in PART_PARAMETERS
        is_given = parameter.name in section or "_args_" in section or is_ours
        if parameter.default is parameter.empty and not is_given:
            yield Complaint(full, f"{full} must be given: {target} needs it")

"""Find each `_target_` of a config, import it, and decide which of them a checkpoint may name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.assembly.kinds import KINDS, is_adapted, is_kind, section_of
from nnrun.base.errors import ArtifactError, Complaint, ConfigError, did_you_mean
from nnrun.base.foreign_errors import lacks_package, of_the_machine, place_of
from nnrun.checkpoints.aliases import current_name
from nnrun.config.schema import NAMED_SECTIONS

# A target from a checkpoint is imported, to look at the class, only if it begins with one of these.
SHIPPED_ROOTS = ("nnrun.", "torch.nn.", "torch.optim.", "torchmetrics.classification.", "torchmetrics.regression.")
# The modules of the classes that a checkpoint may name in each section. The resolved object is compared, not the text,
# which can mislead. Having the methods of a kind is not enough: nnrun has classes with `__call__` that start a process.
_SHIPPED: dict[str, tuple[str, ...]] = {
    "model": ("nnrun.components.models.", "torch.nn.modules."),
    "problem": ("nnrun.components.problems.",),
    "loss": ("nnrun.components.losses.", "torch.nn.modules."),
    "metric": ("nnrun.components.metrics.", "torchmetrics.classification.", "torchmetrics.regression."),
    "optimizer": ("nnrun.components.optimizers.", "torch.optim."),
    "scheduler": ("nnrun.components.schedulers.", "torch.optim."),
    "data.dataset": ("nnrun.components.data.",),
    "augment": ("nnrun.components.augment.",),
    "callback": ("nnrun.components.callbacks.",),
    "export": ("nnrun.components.exporters.",),
    "logger": ("nnrun.components.loggers.",),
    "preprocessing": ("nnrun.components.data.",),
}


def target_sections(tree: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return every section of a resolved config that has a `_target_`, by its full name."""
    named = {
        f"{group}.{name}": section for group in NAMED_SECTIONS for name, section in (tree.get(group) or {}).items()
    }
    sections = {name: tree[name] for name in ("model", "problem", "loss", "optimizer", "scheduler") if tree.get(name)}
    if tree["data"]["dataset"]:
        sections["data.dataset"] = tree["data"]["dataset"]
    return sections | named


def targets_in(node: Any) -> list[str]:
    """Return every `_target_` in a section, including nested ones."""
    if isinstance(node, Mapping):
        own = [node["_target_"]] if isinstance(node.get("_target_"), str) else []
        return own + [target for value in node.values() for target in targets_in(value)]
    if isinstance(node, list):
        return [target for value in node for target in targets_in(value)]
    return []


def check_trust(sections: Mapping[str, Mapping[str, Any]], trust: Sequence[str]) -> None:
    """Raise one ArtifactError that names every `_target_` in these sections that a checkpoint may not name.

    The check imports only nnrun, torch and torchmetrics.
    """
    refused = {
        f"{name}._target_ is {target!r}": (name, target)
        for name, section in sections.items()
        for target in targets_in(section)
        if not _is_trusted(target, trust) and not _is_shipped(target, section_of(name))
    }
    if not refused:
        return
    modules = sorted({target.rpartition(".")[0] or target for _, target in refused.values()})
    groups = dict.fromkeys(f"{name.partition('.')[0]}=" for name, _ in refused.values() if name != "preprocessing")
    own = f", or name your own {' and '.join(groups)}" if groups else ""
    raise ArtifactError(
        f"the checkpoint's {' and its '.join(refused)}, which nnrun does not ship for this purpose; "
        f"if you trust {'it' if len(refused) == 1 else 'them'}, "
        f"add trust=[{','.join(dict.fromkeys([*trust, *modules]))}]{own}"
    )


def _is_trusted(target: str, trust: Sequence[str]) -> bool:
    """Return whether a target is in a module in `trust`, or below one."""
    module = target.rpartition(".")[0]
    return any(module == trusted or module.startswith(trusted + ".") for trusted in trust)


def _is_shipped(target: str, section: str) -> bool:
    """Return whether a target is a public class of nnrun, torch or torchmetrics that is meant for its section."""
    if not target.startswith(SHIPPED_ROOTS):
        return False
    try:
        found = import_target("", target)
    except ConfigError:
        return False
    if not isinstance(found, type) or found.__name__.startswith("_"):
        return False
    true_name = f"{found.__module__}.{found.__qualname__}"
    is_right = is_kind(found, KINDS[section]) or (not true_name.startswith("nnrun.") and is_adapted(found, section))
    return true_name.startswith(_SHIPPED[section]) and is_right


def import_target(name: str, target: str) -> Any:
    """Return the object `module.attribute`; raise ConfigError saying which of the two is missing."""
    module_name, _, attribute = current_name(target).rpartition(".")
    try:
        module = importlib.import_module(module_name) if module_name else None
    except ModuleNotFoundError as error:
        is_target = error.name is not None and (module_name + ".").startswith(error.name + ".")
        if error.name == "torchmetrics" or (not is_target and module_name.startswith("nnrun.")):
            raise lacks_package(name, error) from error
        where = f"put your own module into {Path.cwd()}" if is_target else f"{module_name} imports it"
        raise wrong_target(name, target, f"cannot be imported: {error.msg}; {where}") from error
    except Exception as error:
        if machine := of_the_machine(error):
            raise machine from error
        reason = f"{module_name} fails with {type(error).__name__}: {error}{place_of(error)}"
        raise wrong_target(name, target, f"cannot be imported: {reason}") from error
    if module is None:
        raise wrong_target(name, target, f"has no module; write module.{target}")
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, [key for key in vars(module) if not key.startswith("_")])
        lacks = f"{module_name} has no {attribute!r}{hint and '; ' + hint}"
        raise wrong_target(name, target, f"cannot be imported: {lacks}")
    return getattr(module, attribute)


def wrong_target(name: str, target: str, what: str) -> ConfigError:
    """Return the error that says what is wrong with the `_target_` of a section."""
    return ConfigError(Complaint(f"{name}._target_", f"{name}._target_={target} {what}"))


def parameters_of(target: str) -> list[str]:
    """Return the names of the parameters that a target takes."""
    return list(inspect.signature(import_target("target", target)).parameters)

"""The options of groups: their names, the settings in their files, and Hydra's composition of the chosen ones."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint, ConfigError, shown
from nnrun.base.files import state_of
from nnrun.base.secrets import redact, redact_word
from nnrun.checkpoints.aliases import with_current_names
from nnrun.config.copies import packed, unpacked
from nnrun.config.folders import GROUPS, conf_dir, option_file, options
from nnrun.config.hydra_words import answer_to_option, answers_to_section
from nnrun.config.meant import hint_for_option
from nnrun.config.option_files import OptionFile, read_option_file
from nnrun.config.overrides import Typed
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.target_sections import Reference
from nnrun.config.yaml_files import read_yaml, refuse_hidden_marks, unreadable


def unknown_options(groups: Sequence[Typed], own: Sequence[Path]) -> list[Complaint]:
    """Complain of unknown options, and of words that choose none, or several where only one is allowed."""
    return [Complaint(item.key, text) for item in groups for text in _wrong_choice(item, options(item.key, own))]


def _wrong_choice(item: Typed, known: Sequence[str]) -> Iterator[str]:
    """Yield the mistakes in a word that chooses options of a group; `known` are its options."""
    names = item.value if isinstance(item.value, list) else [item.value]
    if any(isinstance(name, dict | list) for name in names):
        yield _not_options(item, known)
        return
    if isinstance(item.value, list) and item.key not in NAMED_SECTIONS:
        yield f"{item.key} takes one option; available: {', '.join(known)}"
        return
    if not names:
        yield f"{redact_word(item.word)} names no option; write {item.key}=none"
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"{redact_word(item.word)} names {name} twice"
    if len(names) > 1 and "none" in names:
        yield f"{redact_word(item.word)} names none beside another option; remove one of them"
    for name in names:
        if str(name) not in known:
            hint = hint_for_option(item.key, str(name), known)
            yield f"{item.key}={name} is not an option; {hint + ' ' if hint else ''}available: {', '.join(known)}"


def _not_options(item: Typed, known: Sequence[str]) -> str:
    """Return the message for a word that gives a group settings, or a list in a list, instead of options."""
    takes = "options, one or a list of them" if item.key in NAMED_SECTIONS else "one option"
    node: Any = redact(item.value)
    key = item.key
    while isinstance(node, dict | list) and node:
        name, node = next(iter(node.items())) if isinstance(node, dict) else (None, node[0])
        key += f".{name}" if name is not None else ""
    example = (
        f"; for its settings write {key}={shown(node)}" if key != item.key and not isinstance(node, dict | list) else ""
    )
    return f"{item.key} takes {takes} (available: {', '.join(known)}){example}"


def compose_groups(groups: Sequence[Typed], own: Sequence[Path]) -> tuple[DictConfig, dict[str, list[str]]]:
    """Return Hydra's composition of the chosen options, and which options were chosen for each group."""
    for folder in own:
        refuse_hidden_marks(folder)
    try:
        whole, described, settings = _compose(_for_hydra(groups, own), _files_of([conf_dir(), *own]))
    except yaml.YAMLError as error:
        raise unreadable(error) from error
    except RecursionError as error:
        raise ConfigError("the defaults of a YAML file refer back to itself; check the chosen options") from error
    except UnicodeDecodeError as error:
        for path in (path for folder in own for path in sorted(folder.rglob("*.yaml"))):
            read_yaml(path)  # raises for the file in question
        raise ConfigError(f"a YAML file is not text in UTF-8: {error}") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # OmegaConf may have no message for a key that is not a string.
        silent = "a key in the YAML of a chosen option is null or a number, but must be a string: put it in quotes"
        raise ConfigError(_hydra_message(error) or silent) from error
    if "experiment" in whole:
        name = whole.hydra.runtime.choices.experiment
        raise ConfigError(f"experiment={name}: its file must begin with the line '# @package _global_'")
    HydraConfig.instance().cfg = described
    chosen = {group: whole.hydra.runtime.choices.get(group) for group in GROUPS}
    choices = {group: [name] if isinstance(name, str) else [] for group, name in chosen.items()}
    for group in NAMED_SECTIONS:
        if chosen[group] is None:
            # Hydra does not report the items of a list: the sections have the names of their options.
            choices[group] = [str(name) for name in whole[group]]
    for item in groups:
        if isinstance(item.value, list):
            choices[item.key] = [str(name) for name in item.value]
    return unpacked(settings), choices


def _for_hydra(groups: Sequence[Typed], own: Sequence[Path]) -> tuple[str, ...]:
    """Return the words that choose options, and the user's folders, in Hydra's grammar."""
    words = [f"{item.key}={_quoted(item.value)}" for item in groups]
    if own:
        words.append("hydra.searchpath=[" + ",".join(_quoted(f"file://{folder}") for folder in own) + "]")
    return tuple(words)


def composed_files(groups: Sequence[Typed], own: Sequence[Path]) -> list[OptionFile]:
    """Return the files that Hydra composes for the chosen options, in its order: later ones take precedence."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list("config", list(_for_hydra(groups, own)), RunMode.RUN).defaults
    files = []
    for row in found:
        paths = (folder / f"{row.config_path}.yaml" for folder in (conf_dir(), *own))
        path = next((path for path in paths if path.is_file()), None)
        # Hydra's own files are not among them.
        if path is not None:
            files.append(read_option_file(path, row.package or ""))
    return files


def show_to_hydra(typed: Sequence[Typed]) -> None:
    """Make all words available to `${hydra:...}` in a path of the command line: Hydra got only the options."""
    if not any("${hydra:" in str(item.value) for item in typed):
        return
    whole = OmegaConf.create({"hydra": cast(DictConfig, HydraConfig.get()).copy()})
    OmegaConf.set_readonly(whole, False)
    OmegaConf.set_readonly(whole.hydra, False)
    words = [item.word for item in typed if not item.key.startswith("hydra.")]
    with open_dict(whole):
        whole.hydra.overrides.task = words
        whole.hydra.job.override_dirname = ",".join(sorted(redact_word(word) for word in words))
        for item in typed:
            if item.is_sweep and item.is_group:
                whole.hydra.runtime.choices[item.key] = "???"
    HydraConfig.instance().set_config(whole)


# Hydra takes most of the time before a run: the jobs of a sweep that choose the same options share its result.
@functools.lru_cache(maxsize=64)
def _compose(words: tuple[str, ...], _files: tuple[tuple[str, str], ...]) -> tuple[DictConfig, HydraConf | None, bytes]:
    """Return Hydra's composition of the files, what HydraConfig has of it, and all else of it, packed.

    The first two are shared: do not change them.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        whole = hydra_compose("config", list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(whole)
    if answers := answers_to_section(whole.hydra):
        raise ConfigError(*answers)
    settings = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    return whole, HydraConfig.instance().cfg, packed(settings)


def _files_of(folders: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """Return every YAML file below some folders, with a state that changes when the file does."""
    paths = [Path(at, name) for folder in folders for at, _, names in os.walk(folder) for name in names]
    # Hydra reports broken links.
    found = [(path, path.stat()) for path in paths if path.suffix == ".yaml" and path.exists()]
    return tuple((str(path), state_of(status)) for path, status in found)


def _quoted(value: Any) -> str:
    """Return an option, a list of them, or a path in Hydra's grammar."""
    if isinstance(value, list):
        return "[" + ",".join(_quoted(item) for item in value) + "]"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _hydra_message(error: Exception) -> str:
    """Return the lines of a Hydra error that say what is wrong, without its long search path."""
    text = str(error)
    if missing := re.match(r"(?:In '(.*?)': )?Could not (?:find|load) '(.*?)'", text):
        if answer := answer_to_option(missing[2]):
            return answer
        place = "an option chosen" if missing[1] in (None, "config") else f"{missing[1]}.yaml"
        return f"{place} names {missing[2]} in its defaults, but there is no such option"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cut = next(
        (i for i, line in enumerate(lines) if line.startswith(("Config search path", "full_key", "provider"))), 4
    )
    return " ".join(lines[: max(cut, 1)][:4])


def option_references(choices: Mapping[str, list[str]], own: Sequence[Path]) -> dict[str, Reference]:
    """Return, for each section with a `_target_`, the settings in the chosen option's file."""
    found: dict[str, Reference] = {}
    for group, names in choices.items():
        for name in names:
            path = option_file(group, name, own)
            if path is not None:
                content = with_current_names(read_yaml(path))
                is_ours = path.parents[1] == conf_dir()
                found[f"{group}.{name}" if group in NAMED_SECTIONS else group] = Reference(content, is_ours)
                if isinstance(content.get("dataset"), dict):
                    found["data.dataset"] = Reference(content["dataset"], is_ours)
    return {name: reference for name, reference in found.items() if "_target_" in reference.values}

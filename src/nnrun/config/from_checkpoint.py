"""The config in a checkpoint: how it is merged with the command line's, and whose classes it may name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnrun.base.errors import ArtifactError, Complaint, ConfigError, NnrunError
from nnrun.base.paths import expanded
from nnrun.base.secrets import is_left_out, left_out, redact
from nnrun.checkpoints.model_card import without_private_paths
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun, SavedWeights
from nnrun.config.interpolation import KNOWN_LATE
from nnrun.config.overrides import Typed
from nnrun.config.ranges import MAX_SIDE
from nnrun.config.schema import NAMED_SECTIONS, RUN_KEYS, TARGET_SECTIONS, DataSettings
from nnrun.config.target_sections import Reference
from nnrun.config.tree import is_within, value_at

# The meaning of a missing setting in a file that was written before the setting existed: the behavior of that version,
# not today's default. By full key, `data.split_by`; a parameter of a class by the class, wherever its section is:
# `nnrun.components.data.folder.Folder.order`. A parameter that is added to an option's file needs an entry here.
MEANT_BEFORE: dict[str, Any] = {
    "problem": {"_target_": "nnrun.components.problems.classification.Classification"},
    "metric": {},
    "tokenizer": None,
    "tokenizer.padding": None,
    "data.text": None,
    "data.max_length": None,
    "trainer.devices": 1,
    "trainer.strategy": "ddp",
    "trainer.max_restarts": 0,
    "trainer.sync_batchnorm": False,
    "trainer.validate_every_steps": None,
    "trainer.max_minutes": None,
    "trainer.test": True,
    "trainer.watch": "none",
    "trainer.watch_every_steps": 50,
    "trainer.profile": False,
    "trainer.recompute": False,
    # A checkpoint states the number: see as_meant_then.
    "trainer.threads": "auto",
    "data.class_order": "text",
    "nnrun.components.data.folder.Folder.class_order": "text",
    "nnrun.components.data.arrays.Arrays.class_order": "text",
    "data.white": None,
    "nnrun.components.data.folder.Folder.white": None,
    "nnrun.components.data.torchvision_sets.TorchvisionDataset.white": None,
    "data.image_size": None,
    "data.resize": "crop",
    "nnrun.components.data.folder.Folder.resize": "crop",
    "nnrun.components.data.torchvision_sets.TorchvisionDataset.resize": "crop",
    "nnrun.components.models.mlp.MLP.facts": None,
    "data.jpeg_draft": False,
    "nnrun.components.data.folder.Folder.jpeg_draft": False,
    "nnrun.components.data.arrays.Arrays.targets": "classes",
    "nnrun.components.data.folder.Folder.targets": "classes",
    "nnrun.components.data.folder.Folder.labels": None,
    "nnrun.components.data.folder.Folder.target": None,
    "data.group": None,
    "nnrun.components.data.arrays.Arrays.group": None,
    "nnrun.components.data.folder.Folder.group": None,
    "nnrun.components.data.texts.Texts.group": None,
    "data.time": None,
    "nnrun.components.data.arrays.Arrays.time": None,
    "nnrun.components.data.folder.Folder.time": None,
    "nnrun.components.data.texts.Texts.time": None,
    "data.image": None,
    "nnrun.components.data.folder.Folder.image": None,
    "data.columns": None,
    "data.drop": None,
    "data.num_folds": None,
    "data.fold": 1,
    "data.split_by": "position",
    "nnrun.components.data.arrays.Arrays.split_by": "position",
    "nnrun.components.data.folder.Folder.split_by": "position",
    "nnrun.components.data.torchvision_sets.TorchvisionDataset.split_by": "position",
    # No image is larger: none is averaged.
    "nnrun.components.models.cnn.CNN.grid": MAX_SIDE,
}

# Settings that a data set's section may take from `data`; the input of a trained network cannot change.
_SETTINGS_OF_DATA = {field.name for field in fields(DataSettings)} - {*KNOWN_LATE, "name"}


def as_meant(saved: Any, meant: Mapping[str, Any] = MEANT_BEFORE, key: str = "") -> Any:
    """Return the plain values of a file of any version, with missing settings filled in from MEANT_BEFORE."""
    if isinstance(saved, list):
        return [as_meant(item, meant, "-") for item in saved]
    if not isinstance(saved, Mapping):
        return saved
    places = [key, saved["_target_"]] if isinstance(saved.get("_target_"), str) else [key]
    absent = {
        name: value
        for full, value in meant.items()
        for place, _, name in (full.rpartition("."),)
        if place in places and name not in saved
    }
    return {
        name: as_meant(value, meant, f"{key}.{name}".removeprefix(".")) for name, value in {**saved, **absent}.items()
    }


def parameters_meant(target: str) -> list[str]:
    """Return the parameters of a class that are filled in where a file lacks them."""
    return [name for full in MEANT_BEFORE for place, _, name in (full.rpartition("."),) if place == target]


def as_meant_then(saved: SavedWeights) -> SavedWeights:
    """Return the content of a file with missing settings filled in from MEANT_BEFORE."""
    if not isinstance(saved, SavedNetwork):
        return saved
    card, meant = saved.card, MEANT_BEFORE
    if isinstance(saved, SavedRun):
        meant = meant | {"trainer.threads": saved.threads}
    preprocessing = as_meant(card.preprocessing, key="preprocessing")
    return replace(saved, card=replace(card, config=as_meant(card.config, meant), preprocessing=preprocessing))


def exported_config(tree: Mapping[str, Any], secrets: Collection[str] = ()) -> dict[str, Any]:
    """Return the config for an exported file, which is given away: without secrets and local paths."""
    kept = {key: value for key, value in tree.items() if key in RUN_KEYS}
    return without_private_paths(redact(kept, known=secrets))


def saved_config(tree: Mapping[str, Any], secrets: Collection[str] = ()) -> dict[str, Any]:
    """Return the config for a checkpoint: without the invocation's own settings, and without `secrets`.

    The folder of the data is absolute, so that it is found from any directory.
    """
    data, dataset = dict(tree["data"]), dict(tree["data"]["dataset"])
    if dataset.get("root") == data["root"]:
        data["root"] = dataset["root"] = str(expanded(data["root"]).absolute())
    saved = {**tree, "data": {**data, "dataset": dataset}}
    return redact({key: value for key, value in saved.items() if key in RUN_KEYS}, known=secrets)


def merge_saved(saved: Mapping[str, Any], fresh: DictConfig, named_groups: set[str], *, keep_named: bool) -> DictConfig:
    """Return the saved config, with the invocation's own settings and the sections of named groups from `fresh`.

    A named group with the class that was saved changes nothing: the values of its file are defaults, and saved values
    take precedence over defaults.
    """
    config = OmegaConf.create(dict(saved))
    assert isinstance(config, DictConfig)
    _refer_to_data(config)
    for section in ("data", "trainer", "transfer", "early_stopping", "report"):
        # A setting that did not exist when the checkpoint was saved has its default.
        for key in fresh.get(section) or {}:
            if config.get(section) is not None and key not in config[section]:
                config[section][key] = fresh[section]._get_node(key)
    for key in fresh:
        is_named = key in named_groups and (key in NAMED_SECTIONS or _target(fresh, key) != _target(config, key))
        # report=default asks for a report: it does not show again what the run left out.
        is_named &= key != "report" or None in (fresh.get(key), config.get(key))
        if is_named or key not in config or key not in RUN_KEYS:
            config[key] = fresh._get_node(key)
        elif key in NAMED_SECTIONS and key != "metric" and not keep_named and key not in named_groups:
            config[key] = {}
        elif key in named_groups:
            _fill_secrets(config[key], OmegaConf.to_container(fresh[key], resolve=False))
    return config


def _refer_to_data(config: DictConfig) -> None:
    """Make the data set's section refer to `data` again, as its file did: it was saved as values.

    Settings of `data` given beside a checkpoint then take effect, such as data.root= on another machine.
    """
    section = OmegaConf.select(config, "data.dataset")
    if not OmegaConf.is_dict(section):
        return
    is_ours = str(section.get("_target_")).startswith("nnrun.")
    for key in section:
        is_taken = key == "root" or (is_ours and key in _SETTINGS_OF_DATA)
        if is_taken and key in config.data and section[key] == config.data[key]:
            section[key] = f"${{data.{key}}}"


def _fill_secrets(saved: DictConfig, given: Any, path: str = "") -> None:
    """Fill in the secrets that a checkpoint omits from the plain values of an option's file."""
    for key in saved if isinstance(given, dict) else ():
        full, node = path + str(key), saved._get_node(key)
        if OmegaConf.is_dict(node):
            _fill_secrets(saved[key], given.get(key), full + ".")
        elif OmegaConf.is_list(node):
            # The secrets of a list cannot be told apart: the file's list is taken as a whole, or not at all.
            if isinstance(given.get(key), list) and left_out(OmegaConf.to_container(node, resolve=False), full):
                saved[key] = given[key]
        elif given.get(key) and is_left_out(saved[key], full):
            saved[key] = given[key]


def _target(config: DictConfig, group: str) -> object:
    """Return the class that a group's section names; without one, an object that equals nothing else."""
    return OmegaConf.select(config, "data.dataset._target_" if group == "data" else f"{group}._target_") or object()


def saved_references(saved: Mapping[str, Any]) -> dict[str, Reference]:
    """Return the sections of a checkpoint's config as references: they list all parameters of their targets."""
    found = {}
    for name in TARGET_SECTIONS:
        section = value_at(saved, name)
        if isinstance(section, Mapping):
            if name == "data.dataset" and str(section.get("_target_")).startswith("nnrun."):
                # Checked as settings of `data`, which may also be null.
                section = {key: None if key in _SETTINGS_OF_DATA else value for key, value in section.items()}
            found[name] = Reference(section, complete=True)
    for group in NAMED_SECTIONS:
        # The checks report what is not a section.
        sections = named.items() if isinstance(named := saved.get(group), Mapping) else ()
        found |= {f"{group}.{name}": Reference(section, complete=True) for name, section in sections}
    return found


def fault(complaints: Sequence[Complaint], checkpoint: Path | None, typed: Sequence[Typed]) -> NnrunError:
    """Return complaints as a ConfigError; as an ArtifactError where the config comes from a checkpoint and no word of
    the command line names what is wrong.
    """
    keys = {key for complaint in complaints for key in (complaint.key, *complaint.others)}
    if checkpoint is None or any(_is_about(key, item.key) for key in keys for item in typed):
        return ConfigError(*complaints)
    return ArtifactError(
        *(replace(item, text=f"{checkpoint}: its config is invalid: {item.text}") for item in complaints)
    )


def _is_about(key: str, typed: str) -> bool:
    """Return whether one of two keys is the other, or a section that it is in."""
    return is_within(key, typed) or is_within(typed, key)


def own_targets(
    tree: Mapping[str, Any], from_checkpoint: bool, named_groups: set[str], values: Sequence[Typed]
) -> list[str]:
    """Return the sections whose `_target_` the user's YAML or command line names: their own code, which is trusted."""
    names = [*TARGET_SECTIONS, *(f"{group}.{name}" for group in NAMED_SECTIONS for name in tree.get(group) or {})]
    typed_targets = {item.key.removesuffix("._target_") for item in values if item.key.endswith("._target_")}
    return [
        name for name in names if not from_checkpoint or name.partition(".")[0] in named_groups or name in typed_targets
    ]

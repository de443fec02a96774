"""Whose classes a checkpoint may name: those that are made for the section, and no others that look like them."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from nnrun.assembly.allowed import check_trust
from nnrun.assembly.kinds import KINDS, section_of
from nnrun.base.errors import ArtifactError
from nnrun.config.folders import conf_dir
from nnrun.config.schema import NAMED_SECTIONS

# In each section, what has the methods that are asked for there, and is something else.
REFUSED = {
    "augment.x": [
        "nnrun.proof.isolated.Isolated",  # it runs a file when it is made
        "nnrun.core.augmenter.Augmenter",
        "nnrun.proof.verify.Standard",
        "nnrun.components.models.mlp.MLP",
        "torch.nn.Identity",
    ],
    "data.dataset": [
        "nnrun.checkpoints.read._PlainUnpickler",
        "nnrun.components.data.array_pickle._ArrayUnpickler",
        "nnrun.components.exporters.onnx.OnnxExporter",
        "nnrun.core.seams.data.DataSource",
    ],
    "model": [
        "nnrun.components.losses.focal.Focal",
        "nnrun.core.transfer.feature_cache.Shortcut",
        "torch.optim.swa_utils.AveragedModel",
    ],
    "export.x": ["nnrun.core.seams.export.Exporter"],
    "preprocessing": ["nnrun.core.transfer.feature_cache._AsFeatures"],
    "optimizer": ["torch.optim.lr_scheduler.StepLR", "torch.nn.Linear"],
}
ALSO_ALLOWED = {
    "model": ["torch.nn.Linear", "torch.nn.modules.container.Sequential"],
    "loss": ["torch.nn.CrossEntropyLoss"],
    "optimizer": ["torch.optim.SGD"],
    "preprocessing": ["nnrun.components.data.normalize.Normalize", "nnrun.components.data.normalize.Standardize"],
}


def shipped() -> list[tuple[str, str]]:
    """Return each section with each class that an option of ours names in it."""
    found = [(section, target) for section, targets in ALSO_ALLOWED.items() for target in targets]
    for path in sorted(conf_dir().glob("*/*.yaml")):
        option, group = OmegaConf.load(path), path.parent.name
        name = f"{group}.{path.stem}" if group in NAMED_SECTIONS else "data.dataset" if group == "data" else group
        target = OmegaConf.select(option, "dataset._target_" if group == "data" else "_target_")
        if target is not None:
            found.append((name, target))
    return found


def importable() -> list[object]:
    """Return what `shipped` does; a module that imports the package of an extra is tried where the extras are."""
    return [
        pytest.param(*each, marks=[pytest.mark.extras] if each[1].startswith("nnrun.components.models.hf.") else [])
        for each in shipped()
    ]


@pytest.mark.parametrize(("section", "target"), importable())
def test_targets_of_shipped_options_are_trusted(section: str, target: str) -> None:
    """Negative control: the table below."""
    check_trust({section: {"_target_": target}}, [])


def test_all_sections_are_in_the_table() -> None:
    assert {section_of(name) for name, _ in shipped()} >= KINDS.keys() - {"callback", "logger", "metric"}


@pytest.mark.parametrize(("section", "target"), [(name, target) for name in REFUSED for target in REFUSED[name]])
def test_a_target_that_only_looks_like_a_shipped_one_is_refused(section: str, target: str) -> None:
    """Negative control: it is trusted where the user says so."""
    with pytest.raises(ArtifactError, match="trust="):
        check_trust({section: {"_target_": target}}, [])
    check_trust({section: {"_target_": target}}, [target.rpartition(".")[0]])


def test_nested_targets_are_checked_too() -> None:
    inner = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    check_trust({"model": {"_target_": "torch.nn.Sequential", "_args_": [inner]}}, [])
    with pytest.raises(ArtifactError, match="Isolated"):
        outer = {"_target_": "nnrun.components.augment.mixing.MixUp", "alpha": [{"_target_": REFUSED["augment.x"][0]}]}
        check_trust({"augment.x": outer}, [])


def test_one_refusal_names_all_that_must_be_trusted() -> None:
    """With what is trusted already, so that the word can be copied; negative control: then nothing is refused."""
    named = {"model": "mynet.Net", "data.dataset": "mydata.Set", "loss": "torch.nn.MSELoss", "problem": "known.Problem"}
    sections = {name: {"_target_": target} for name, target in named.items()}
    with pytest.raises(ArtifactError) as refused:
        check_trust(sections, ["known"])
    (message,) = refused.value.messages
    assert "model._target_ is 'mynet.Net' and its data.dataset._target_ is 'mydata.Set'" in message
    assert "add trust=[known,mydata,mynet], or name your own model= and data=" in message
    check_trust(sections, ["known", "mydata", "mynet"])

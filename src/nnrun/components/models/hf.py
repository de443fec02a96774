"""Classifiers of Hugging Face's transformers, for images and for texts; the class is transformers' own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.paths import shown
from nnrun.base.targets import Targets
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.components.models.adapting import check_fits
from nnrun.components.models.hf_config import (
    AUTO,
    architecture,
    check_padding,
    config_of,
    is_for,
    kinds_of,
    longest_text,
    padding_of,
)
from nnrun.components.models.hf_files import TOKENIZER, files_of
from nnrun.components.models.hf_images import differences, read_as
from nnrun.components.models.torchvision import Published


class HuggingFace(nn.Module):
    """Build a classifier of transformers, with a head for `num_outputs`, from its `config`; nothing is downloaded.

    The result is transformers' own class, with its names of weights; called on images `(N, C, H, W)` or on the numbers
    of tokens `(N, L)`, padded as its config says, it returns scores `(N, num_outputs)`. Raises ConfigError where
    transformers has no such classifier, or where it cannot take the samples.
    """

    def __new__(  # type: ignore[misc]
        cls, name: str, revision: str | None, config: Mapping[str, Any] | None, in_shape: Any, num_outputs: int
    ) -> nn.Module:
        plain = architecture(files_of(name, revision)) if config is None else config
        kind = _kind_of(in_shape)
        made = config_of(plain, name)
        _check_kind(kind, made, name)
        made.num_labels = num_outputs
        if kind == "images":
            _check_size(made, in_shape, name)
            if hasattr(made, "num_channels"):
                made.num_channels = in_shape[0]
        try:
            network = AUTO[kind].from_config(made, dtype=torch.float32)
        except (ValueError, TypeError, AttributeError, ImportError, KeyError) as error:
            text = f"model.name={shown(name)} cannot be built: {str(error).splitlines()[0][:200]}"
            raise ConfigError(Complaint("model.name", text)) from error
        network.__class__ = _scoring(type(network), kind)  # type: ignore[arg-type]
        _move_dropout(network)
        if kind == "images":
            check_fits(network, in_shape, name)
        return network  # type: ignore[no-any-return]

    @staticmethod
    def adopted(parameters: Mapping[str, Any], *, resizes: bool) -> tuple[dict[str, Any], list[str]]:
        """Return the settings that follow from the model's files, by full key, and notes on them; none if saved.

        `resizes` says whether the data set brings images to a size.
        """
        if parameters["config"] is not None:
            return {}, []
        files = files_of(parameters["name"], parameters["revision"])
        plain = architecture(files)
        settings: dict[str, Any] = {
            "model.revision": files.revision,
            "model.config": plain,
            "transfer.weights": "default",
        }
        notes = [f"model {files.title}: {plain['model_type']}, licence {files.licence or 'not stated'}"]
        if "texts" in kinds_of(plain):
            check_padding(plain, files.title)
            path, longest, padding = files.path(TOKENIZER), longest_text(plain), padding_of(config_of(plain, ""))
            settings |= {"tokenizer.padding": padding} if padding else {}
            settings |= {"tokenizer.kind": "file", "tokenizer.file": path and str(path)}
            settings |= {} if longest is None else {"data.max_length": longest}
        if resizes and "images" in kinds_of(plain):
            notes += differences(files)
        return settings, notes

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights in the model's files, and the classes of its head, if it names them."""
        files = files_of(parameters["name"], parameters["revision"])
        auto = AUTO[_kind_of(parameters["in_shape"])]
        try:
            with torch.random.fork_rng(devices=[]):
                network, info = auto.from_pretrained(
                    files.folder,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            raise ArtifactError(f"the weights of {files.title} cannot be read: {reason}") from error
        fresh = tuple(sorted(info["missing_keys"]))
        weights = {name: tensor for name, tensor in network.state_dict().items() if name not in fresh}
        names = [network.config.id2label[place] for place in range(network.config.num_labels)]
        is_named = names != [f"LABEL_{place}" for place in range(len(names))] and len(set(names)) == len(names)
        targets = Targets.classes(names) if is_named and not fresh else None
        return Published(weights, Path(f"the weights of {files.title}"), targets, fresh)

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn | None:
        """Return the input that the model was trained on, by its image processor; None if there is none."""
        files = files_of(parameters["name"], parameters["revision"])
        read = read_as(files)
        if read is None or "images" not in kinds_of(architecture(files)):
            return None
        return TrainedOn(files.title, read.size, read.mean, read.std, config_of(architecture(files), "").num_labels)


def _kind_of(in_shape: Any) -> str:
    """Return the kind of samples with a shape: texts have any length, images three dimensions."""
    if isinstance(in_shape, Sequence) and list(in_shape) == [None]:
        return "texts"
    if isinstance(in_shape, Sequence) and len(in_shape) == 3 and all(isinstance(size, int) for size in in_shape):
        return "images"
    allowed = "images, or texts of any length (model=hf takes one of these)"
    raise ConfigError.of("data.in_shape", in_shape, allowed, "choose another model")


def _check_kind(kind: str, config: Any, name: str) -> None:
    """Raise ConfigError unless transformers has a classifier of this type for the samples."""
    takes = [other for other, auto in AUTO.items() if is_for(auto, config)]
    if kind not in takes:
        what = f"classifies {' and '.join(takes)}" if takes else "has no classifier in transformers"
        text = f"model.name={shown(name)} ({config.model_type}) {what}, but the samples are {kind}"
        raise ConfigError(Complaint("model.name", text, ("data.in_shape",)))


def _check_size(config: Any, in_shape: Sequence[int], name: str) -> None:
    """Raise ConfigError where a network with a position embedding for each patch gets images of another size."""
    size, is_fixed = getattr(config, "image_size", None), hasattr(config, "patch_size") and hasattr(config, "qkv_bias")
    wanted = [size, size] if isinstance(size, int) else size
    if is_fixed and isinstance(wanted, list | tuple) and list(wanted) != list(in_shape[1:]):
        sizes = ["x".join(map(str, each)) for each in (in_shape[1:], wanted)]
        hint = f"data.image_size={size}" if isinstance(size, int) else f"data.image_size={list(wanted)}"
        text = (
            f"model.name={shown(name)} takes images of {sizes[1]}, but these are {sizes[0]}; "
            f"set {hint.replace(' ', '')} where the data is read from files, or resize them before"
        )
        raise ConfigError(Complaint("data.image_size", text, ("data.in_shape", "model.name")))


class _OfImages:
    """Scores of images, in place of transformers' outputs by name."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(pixel_values=inputs).logits  # type: ignore[misc, no-any-return]


class _OfTexts:
    """Scores of texts, whose padding is masked."""

    def forward(self, inputs: Tensor) -> Tensor:
        mask = (inputs != padding_of(self.config)).long()  # type: ignore[attr-defined]
        return super().forward(input_ids=inputs, attention_mask=mask).logits  # type: ignore[misc, no-any-return]


@functools.cache
def _scoring(network: type[nn.Module], kind: str) -> type[nn.Module]:
    """Return a class of transformers as one that returns scores."""
    return type(network.__name__, (_OfImages if kind == "images" else _OfTexts, network), {})


class _DroppedLinear(nn.Linear):
    """A linear layer with dropout of its input."""

    rate: float

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(inputs, self.rate, self.training))


def _move_dropout(network: nn.Module) -> None:
    """Move a dropout right before the head into it: what is before can then be computed once if it is frozen."""
    head, dropout = getattr(network, "classifier", None), getattr(network, "dropout", None)
    if type(head) is nn.Linear and type(dropout) is nn.Dropout:
        head.__class__ = _DroppedLinear
        head.rate = dropout.p  # type: ignore[assignment]
        network.dropout = nn.Identity()

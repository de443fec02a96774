"""A folder in the form of Hugging Face's hub, ready to be uploaded: weights, `config.json`, a model card, `model.json`.

transformers reads a network of its own from it, and nnrun any network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import nnrun
from nnrun.base.errors import shown
from nnrun.base.shown import metric_text
from nnrun.components.exporters.hub_upload import token_of_environment, uploaded
from nnrun.components.exporters.safetensors import SafetensorsExporter
from nnrun.core.ragged import PADDING
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext

# The names under which transformers classifies, by the task that the hub gives them.
_AUTO = {"text-classification": "SequenceClassification", "image-classification": "ImageClassification"}
_SPECIAL = {"pad_token": ("[PAD]", "<pad>"), "unk_token": ("[UNK]", "<unk>"), "cls_token": ("[CLS]", "<s>")}
_SPECIAL |= {"sep_token": ("[SEP]", "</s>"), "mask_token": ("[MASK]", "<mask>")}
_BILINEAR = 2


class HubExporter(SafetensorsExporter):
    """Write `model.safetensors`, `config.json`, `README.md` and `model.json`; verify what is read from the folder."""

    typical_seconds = 0.2
    # transformers reads no file without it.
    more_metadata: Mapping[str, str] = {"format": "pt"}

    def __init__(
        self, tolerance: float, min_agreement: float, repo: str | None = None, *, private: bool = True
    ) -> None:
        super().__init__(tolerance, min_agreement)
        self.repo, self.private = repo, private
        self._of_transformers = False
        self._task, self._padding = "", PADDING

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return the path of its weights."""
        self._task, self._of_transformers = _task_of(context), _is_of_transformers(model)
        if self._of_transformers and not self._task:
            raise CannotExport("transformers would give scores, not values in the data's units; use safetensors")
        self._padding = context.preprocessing.to_plain().get("padding", PADDING)
        path = super().export(model, context, folder)
        if self._of_transformers:
            _write(folder / "config.json", _config_of(model, context))
            self._write_processor(context, folder)
            self.notes = ["verified as transformers reads it from the folder"]
        else:
            # nnrun's own networks: what they are is in model.json; the hub shows this file.
            settings = {key: value for key, value in context.config.get("model", {}).items() if key != "_target_"}
            _write(
                folder / "config.json",
                {"library_name": "nnrun", "model_type": type(model).__name__, "id2label": _labels(context)}
                | context.problem.state_dict()
                | settings,
            )
            self.notes = ["weights only: verified in the network's class, which nnrun.load finds by model.json"]
        (folder / "README.md").write_text(self._card(context), encoding="utf-8")
        return path

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the network as transformers reads it from the folder; any other, its class with the file's weights."""
        if not self._of_transformers:
            return super().load(path)
        import transformers  # noqa: PLC0415 - only for a network of its own, which has imported it

        auto = getattr(transformers, f"AutoModelFor{_AUTO[self._task]}")
        network = auto.from_pretrained(path.parent, local_files_only=True, trust_remote_code=False).eval()
        if self._task == "text-classification":
            return lambda tokens: network(input_ids=tokens, attention_mask=(tokens != self._padding).long()).logits
        return lambda pixels: network(pixel_values=pixels).logits

    @staticmethod
    def check_environment(parameters: Mapping[str, Any]) -> None:
        """Raise ResourceError where the folder is to be uploaded, and there is no token."""
        if parameters.get("repo") is not None:
            token_of_environment()

    def publish(self, folder: Path) -> dict[str, Any] | None:
        """Upload the finished folder if `repo` is set; return where it is. Raises ResourceError."""
        return None if self.repo is None else uploaded(folder, self.repo, private=self.private)

    def _write_processor(self, context: ExportContext, folder: Path) -> None:
        """Write how transformers prepares samples: the tokenizer's names, or the normalization of images."""
        plain = context.preprocessing.to_plain()
        if "tokenizer" in plain:
            known = json.loads("".join(plain["tokenizer"]))
            tokens = [token["content"] for token in known.get("added_tokens", [])]
            vocabulary = known["model"].get("vocab", {})
            names = [*tokens, *(vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary))]
            special = {
                key: next((word for word in words if word in set(names)), None) for key, words in _SPECIAL.items()
            }
            content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": plain["max_length"]}
            _write(folder / "tokenizer_config.json", content | {k: word for k, word in special.items() if word})
        elif "mean" in plain and self._task == "image-classification":
            height, width = context.example.shape[-2:]  # type: ignore[union-attr]
            content = {
                "image_processor_type": "ViTImageProcessor",
                "do_resize": True,
                "size": {"height": height, "width": width},
                "resample": _BILINEAR,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": list(plain["mean"]),
                "image_std": list(plain["std"]),
            }
            _write(folder / "preprocessor_config.json", content)

    def _card(self, context: ExportContext) -> str:
        """Return the model card: its head, which the hub reads, and how the network is used."""
        name, headline = context.config.get("model", {}).get("name"), context.problem.headline
        library = "transformers" if self._of_transformers else "nnrun"
        is_repository = (
            self._of_transformers and isinstance(name, str) and name.count("/") == 1 and name[0] not in "./~"
        )
        head = {
            "library_name": library,
            "pipeline_tag": self._task or None,
            "base_model": name if is_repository else None,
            "tags": ["nnrun"],
        }
        lines = [f"{key}: {json.dumps(value)}" for key, value in head.items() if value is not None]
        names = ", ".join(shown(each) for each in context.targets.names[:20])
        more = ", ..." if len(context.targets.names) > 20 else ""
        use = (
            f"from transformers import AutoModelFor{_AUTO[self._task]}\n\n"
            f'network = AutoModelFor{_AUTO[self._task]}.from_pretrained("FOLDER_OR_REPOSITORY")'
            if self._of_transformers
            else 'import nnrun\n\nnetwork = nnrun.load("model.safetensors")'
        )
        return (
            "---\n" + "\n".join(lines) + "\n---\n\n# A network trained with nnrun\n\n"
            f"{context.targets.kind.capitalize()}: {names}{more}\n\n"
            f"{headline} on the test split: {metric_text(context.score)}\n\n{_decided(context)}"
            f"```python\n{use}\n```\n\nTrained with nnrun {nnrun.__version__}; run {context.run_id}. "
            "`model.json` has the settings of the run.\n"
        )


def _is_of_transformers(model: nn.Module) -> bool:
    """Return whether a network is one of transformers' own classes."""
    return any(base.__module__.startswith("transformers.") for base in type(model).__mro__)


def _decided(context: ExportContext) -> str:
    """Return the paragraph of the card on how several labels follow from scores; empty for other targets."""
    found = context.problem.state_dict().get("thresholds")
    if context.targets.kind != "labels" or found is None:
        return ""
    said = ", ".join(f"{shown(name)} {number:.4g}" for name, number in zip(context.targets.names, found, strict=True))
    return (
        "A label is predicted if its probability, the sigmoid of its score, reaches its threshold (`thresholds` in "
        f"`config.json`): {said}\n\n"
    )


def _task_of(context: ExportContext) -> str:
    """Return the task under which the hub lists a network; empty if there is none."""
    if context.targets.kind == "values":
        return ""
    if context.in_shape == (None,):
        return "text-classification"
    return "image-classification" if isinstance(context.in_shape, tuple) and len(context.in_shape) == 3 else ""


def _labels(context: ExportContext) -> dict[str, str]:
    """Return the names of the outputs by their number."""
    return {str(place): name for place, name in enumerate(context.targets.names)}


def _config_of(model: Any, context: ExportContext) -> dict[str, Any]:
    """Return the config of a network of transformers, with the classes of the data."""
    labels = _labels(context)
    kind = "multi_label_classification" if context.targets.kind == "labels" else "single_label_classification"
    plain = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")}
    return {
        **plain,
        "architectures": [type(model).__name__],
        "id2label": labels,
        "label2id": {name: int(place) for place, name in labels.items()},
        "problem_type": kind,
        # What decides of several labels, in the order of the outputs; no setting of transformers has the name.
        **context.problem.state_dict(),
        "dtype": "float32",
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as the hub has it, without a schema of nnrun's."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")

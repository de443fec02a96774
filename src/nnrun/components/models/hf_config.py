"""The architecture of a classifier of transformers, as plain values that are saved with a run, without any code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

from nnrun.base.errors import Complaint, ConfigError
from nnrun.components.models.hf_files import CONFIG, HubFiles
from nnrun.core.ragged import PADDING

# What a config says of one program, or of other classes than ours.
_NOT_KEPT = (
    *("architectures", "transformers_version", "id2label", "label2id", "num_labels", "dtype", "torch_dtype"),
    *("problem_type", "finetuning_task", "task_specific_params", "attn_implementation", "output_hidden_states"),
    *("output_attentions", "return_dict", "use_cache", "gradient_checkpointing"),
)
# Settings that change what the weights mean, or that load something else.
_REFUSED = ("auto_map", "quantization_config", "compression_config")
# Networks of other libraries: building one may download it.
_OF_OTHERS = ("timm_wrapper",)
transformers.utils.logging.set_verbosity_error()  # what its notices say is said by nnrun, or not of interest here
transformers.utils.logging.disable_progress_bar()
AUTO = {"images": AutoModelForImageClassification, "texts": AutoModelForSequenceClassification}


def longest_text(plain: Mapping[str, Any]) -> int | None:
    """Return the most tokens of a text that a model takes; None if any number."""
    longest = plain.get("max_position_embeddings")
    if not isinstance(longest, int) or plain.get("position_embedding_type", "absolute") not in ("absolute", None):
        return None
    # RoBERTa and its kin count positions from behind the number of the padding.
    padding = plain.get("pad_token_id") or 0
    return longest - padding - 1 if padding else longest


def check_padding(plain: Mapping[str, Any], title: str) -> None:
    """Raise ConfigError where a model states no token with which texts are padded."""
    if plain.get("pad_token_id", 0) is None:
        text = (
            f"model.name={title} ({plain.get('model_type')}) has no padding: set pad_token_id in its {CONFIG} to the "
            "number of a special token of its tokenizer, such as eos_token_id"
        )
        raise ConfigError(Complaint("model.name", text))


def padding_of(config: Any) -> int:
    """Return the number of the token with which texts are padded."""
    return getattr(config, "pad_token_id", None) or PADDING


def architecture(files: HubFiles) -> dict[str, Any]:
    """Return the config of a model as it is saved with a run: every setting of the architecture, and no other."""
    read = files.read(CONFIG)
    assert read is not None, "files without a config are refused"
    return _kept(config_of(read, files.name).to_dict())


def _kept(plain: Any) -> Any:
    """Return a config without what is said of one program or other classes."""
    if isinstance(plain, Mapping):
        return {
            str(key): _kept(value)
            for key, value in plain.items()
            if key not in _NOT_KEPT and not str(key).startswith("_")
        }
    return [_kept(item) for item in plain] if isinstance(plain, list | tuple) else plain


def config_of(plain: Mapping[str, Any], name: str) -> Any:
    """Return a config of transformers; raise ConfigError where it is for none of its classifiers."""
    kind = str(plain.get("model_type"))
    refused = [key for key in _REFUSED if plain.get(key)]
    if refused or kind in _OF_OTHERS:
        what = f"{refused[0]} in its {CONFIG}" if refused else f"the model type {kind}: use model=timm"
        raise ConfigError.of("model.name", name, f"a model without {what}")
    if any("$" in text for text in _texts_in(plain)):
        raise ConfigError.of("model.name", name, f"a {CONFIG} without the character $")
    try:
        return AutoConfig.for_model(kind, **{key: value for key, value in _kept(plain).items() if key != "model_type"})
    except Exception as error:
        reason = f"{CONFIG}: {str(error).splitlines()[0][:200]}"
        raise ConfigError.of("model.name", name, "a model of transformers", reason) from error


def _texts_in(plain: Any) -> list[str]:
    """Return all texts in a tree."""
    if isinstance(plain, Mapping):
        return [text for key, value in plain.items() for text in [str(key), *_texts_in(value)]]
    if isinstance(plain, list | tuple):
        return [text for item in plain for text in _texts_in(item)]
    return [plain] if isinstance(plain, str) else []


def kinds_of(plain: Mapping[str, Any]) -> list[str]:
    """Return the kinds of samples for which transformers has a classifier of this type."""
    config = config_of(plain, str(plain.get("model_type")))
    return [kind for kind, auto in AUTO.items() if is_for(auto, config)]


def is_for(auto: Any, config: Any) -> bool:
    """Return whether transformers has a classifier for a config."""
    return type(config) in auto._model_mapping

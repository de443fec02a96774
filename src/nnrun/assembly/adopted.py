"""Settings that follow from the files of a model, such as its tokenizer, and are set before the data is read."""

from __future__ import annotations

from nnrun.assembly.instantiate import said_by_class
from nnrun.base.errors import Complaint, ConfigError
from nnrun.config.composed import Composed

_TOKENIZER = ("tokenizer.kind", "tokenizer.file", "tokenizer.padding")


def adopted(composed: Composed) -> tuple[Composed, list[str]]:
    """Return the config with the settings that follow from the files of its model, and notes; often unchanged.

    A setting of another section keeps its value where that is not the default. Raises ConfigError where a typed value
    does not fit the model.
    """
    section = composed.resolved()["model"] or {}
    says = said_by_class(section, "adopted")
    if says is None or not composed.task.builds_section("model"):
        return composed, []
    settings, notes = says(section, resizes="image_size" in composed.config.data.dataset)
    tokenizer = composed.config.get("tokenizer")
    if tokenizer is None:
        settings = {key: value for key, value in settings.items() if key not in ("data.max_length", *_TOKENIZER)}
    elif "tokenizer.file" in settings:
        _check_tokenizer(composed, settings["tokenizer.file"])
    if "data.max_length" in settings:
        settings["data.max_length"] = _length(composed, settings["data.max_length"])
    if composed.source is not None and composed.source.key != "repeat":
        settings.pop("transfer.weights", None)  # the weights come from that file
    changed = composed
    for key, value in settings.items():
        full, _, name = key.rpartition(".")
        follows = full == "model" or key == "data.max_length"
        follows |= full == "tokenizer" and (name == "padding" or not composed.named("tokenizer"))
        follows |= full == "transfer" and composed.is_default(key)
        if follows:
            changed = changed.with_settings(full, {name: value})
    return changed, notes


def _check_tokenizer(composed: Composed, file: str | None) -> None:
    """Raise ConfigError where a network with a tokenizer of its own is to learn from other tokens, or has none."""
    kind = composed.config.tokenizer.kind
    if composed.named("tokenizer"):
        if kind != "file":
            text = (
                f"tokenizer={kind}: the weights of the model are for its own tokens; remove it, or use tokenizer=file"
            )
            raise ConfigError(Complaint("tokenizer", text, ("model.name",)))
    elif file is None:
        name = composed.config.model.name
        text = (
            f"model.name={name} has no tokenizer.json; AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER) of "
            "transformers writes one: put it beside config.json, or name it with tokenizer=file tokenizer.file="
        )
        raise ConfigError(Complaint("model.name", text))


def _length(composed: Composed, longest: int) -> int:
    """Return the maximum length of a text: as set, or the default if the model takes as many tokens."""
    wanted = composed.config.data.max_length
    if not composed.is_default("data.max_length") and wanted > longest:
        raise ConfigError.of("data.max_length", wanted, f"at most {longest}, the positions that the model has")
    return int(min(wanted, longest))

"""What does not go together with `trainer.strategy=fsdp`. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnrun.config.composed import Composed

# Optimizers that treat each number of a parameter apart, so that a part of it can be trained by itself.
_BY_NUMBER = frozenset(
    f"torch.optim.{name}"
    for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
)
# What trainer.watch measures without looking at whole parameters or gradients.
_WATCHED = frozenset(("none", "memory", "time"))


def exclusions(composed: Composed, precision: str) -> list[str]:
    """Return what a config has that `trainer.strategy=fsdp` excludes: a message for each, with the way out."""
    found = [*_excluded_settings(composed, precision), *_excluded_parts(composed.resolved())]
    return [f"trainer.strategy=fsdp excludes {each}" for each in found]


def _excluded_settings(composed: Composed, precision: str) -> Iterator[str]:
    """Yield the settings, each with the way out."""
    trainer = composed.resolved()["trainer"]
    if trainer["compile"] is not False:
        yield f"trainer.compile={_word(trainer['compile'])}; use trainer.compile=false"
    for key in ("cuda_graph", "channels_last"):
        # What a resumed run had become holds for its evaluation.
        if trainer[key] is True and (composed.located is None or composed.named(f"trainer.{key}")):
            yield f"trainer.{key}=true; use trainer.{key}=auto"
    if precision == "fp16":
        yield "fp16, whose scale is found from whole gradients; use trainer.precision=bf16 or fp32"
    watch = trainer["watch"]
    if parts := [part for part in ([watch] if isinstance(watch, str) else watch) if part not in _WATCHED]:
        yield f"trainer.watch={','.join(parts)}, which looks at whole parameters; use time, memory or none"
    if ":" in trainer["device"]:
        yield f"trainer.device={trainer['device']}, which the processes would share; use trainer.device=cuda"


def _excluded_parts(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield the components, each with the way out."""
    target = str((tree.get("optimizer") or {}).get("_target_", ""))
    if target not in _BY_NUMBER:
        names = ", ".join(sorted(name.rpartition(".")[2] for name in _BY_NUMBER))
        yield f"{target}, which may look at whole parameters; use an optimizer of torch.optim: {names}"
    if (tree.get("transfer") or {}).get("cache") is True:
        yield "transfer.cache=true; use transfer.cache=false"
    for name, section in (tree.get("callback") or {}).items():
        if section:
            yield f"callback.{name}, which would see parts of the parameters; leave it out"
    for name, section in (tree.get("logger") or {}).items():
        for key in ("graph", "histograms"):
            if isinstance(section, Mapping) and section.get(key) is True:
                yield f"logger.{name}.{key}=true; use logger.{name}.{key}=false"


def _word(value: object) -> str:
    """Return a value as it is written in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The config of a run as it was asked for: a resumed or repeated run has what `auto` became in the run before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.base.errors import ConfigError
from nnrun.base.secrets import redact
from nnrun.config.composed import Composed
from nnrun.config.yaml_files import read_saved_sections

# Marks a value that a config lacks; null is a value.
_ABSENT = object()


def config_as_asked(composed: Composed) -> dict[str, Any]:
    """Return a config for display, without secrets.

    A checkpoint holds resolved values. Those that a resumed or repeated run leaves as they are there stay as they are
    in the config.yaml beside it, so that two runs differ in what was asked for alone.
    """
    tree: dict[str, Any] = redact(composed.shown(), known=composed.secrets)
    saved = composed.resumed or composed.repeated
    if saved is None:
        return tree
    try:
        asked = read_saved_sections(saved.run / "config.yaml")
    except (OSError, ConfigError):
        return tree
    return {key: _merged(value, asked.get(key, _ABSENT), saved.config.get(key, _ABSENT)) for key, value in tree.items()}


def _merged(value: Any, asked: Any, saved: Any) -> Any:
    """Return a value of a config, or what was asked for if the checkpoint has that value."""
    if isinstance(value, Mapping) and isinstance(asked, Mapping) and isinstance(saved, Mapping):
        return {
            key: _merged(item, asked.get(key, _ABSENT), saved.get(key, _ABSENT))
            for key, item in value.items()
        }  # fmt: skip
    return asked if asked is not _ABSENT and value == saved else value

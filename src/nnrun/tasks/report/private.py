"""Leave pictures, texts, file names and paths out of what a report shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nnrun.base.paths import is_private
from nnrun.config.typed_paths import PATH_KEYS
from nnrun.tasks.report.read import LEFT_OUT, RunRead

# Settings whose values are names of files or folders, or may be: by the last part of their keys.
_KEYS = {*(key.rpartition(".")[2] for key in PATH_KEYS), "root", "file", "path", "folder", "dir", "directory", "labels"}
# A word of a text that may be the name of a file, or a path.
_FILE = re.compile(r"[\\/]|\.[A-Za-z]\w{1,4}\b")
# Words that look like file names and are not: our files, settings, and names of weights.
_SETTINGS = "data|trainer|optimizer|scheduler|early_stopping|transfer|loss|model|export|report"
_KNOWN = re.compile(rf"\b(?:(?:run\.log|summary\.json|(?:{_SETTINGS})\.\w+(?:=\w+)?|[\w.]+\.bias)\b|valid/\w+)")


def without_private(run: RunRead) -> RunRead:
    """Return a run without pictures and texts of samples, and without names of files and paths, wherever they occur."""
    samples = None if run.samples is None else replace(run.samples, paths=None, pictures={}, texts={})
    notes = [note for note in run.notes if not names_files(note)]
    num_hidden = len(run.notes) - len(notes) + len(run.named)
    lines = f", and {num_hidden:,} lines that may name them" if num_hidden else ""
    environment, summary = dict(run.environment), dict(run.summary)
    if isinstance(warnings := run.summary.get("warnings"), list):
        summary["warnings"] = [warning for warning in map(str, warnings) if not names_files(warning)]
    if isinstance(command := environment.get("command"), list):
        environment["command"] = ["nnrun", *(_word(str(word)) for word in command[1:])]
    if isinstance(reason := run.status.get("reason"), str) and names_files(reason):
        reason = LEFT_OUT
    train = summary.get("train")
    if isinstance(train, Mapping) and names_files(str(train.get("stop_reason"))):
        summary["train"] = {**train, "stop_reason": LEFT_OUT}
    return replace(
        run,
        place=None,
        config=_cleaned(run.config),
        environment=environment,
        status={**run.status, "reason": reason, "failed_loggers": None},
        summary=summary,
        samples=samples,
        notes=notes,
        named=(),
        left_out=f"Samples, file names and paths are left out (report.samples=false){lines}; run.log has the notes.",
    )


def names_files(text: str) -> bool:
    """Return whether a text may contain the name of a file, or a path."""
    return _FILE.search(_KNOWN.sub("", text)) is not None


def _word(word: str) -> str:
    """Return a word of a command line without the path that it may have."""
    key, sign, value = word.partition("=")
    return f"{key}={LEFT_OUT}" if sign and _is_path(key, value) else LEFT_OUT if not sign and "/" in word else word


def _cleaned(value: Any, key: str = "") -> Any:
    """Return a config in which each path, and each name of a file, is replaced."""
    if isinstance(value, Mapping):
        return {name: _cleaned(item, f"{key}.{name}".removeprefix(".")) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, key) for item in value]
    return LEFT_OUT if isinstance(value, str) and _is_path(key, value) else value


def _is_path(key: str, value: str) -> bool:
    """Return whether the value of a setting is a path or the name of a file, or may be."""
    if key.endswith("_target_") or value.startswith("${"):
        return False
    leaf = key.rpartition(".")[2]
    is_file = key.startswith("data.") and _FILE.search(value) is not None
    return leaf in _KEYS or is_file or is_private(value) or "/" in _KNOWN.sub("", value) or "\\" in value

"""A command to copy: the user's own words, with other values of some settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from nnrun.base.secrets import redact_word

# Flags that change what is printed, and settings that belong to this run alone.
_FLAGS = ("--json", "--quiet", "-q")
_OWN = ("task", "hydra.run.dir")


def command_with(
    words: Sequence[str], changes: Mapping[str, object], task: str, secrets: Collection[str], *, adds: str = ""
) -> str:
    """Return the command of some words to train with `changes`, without the settings of `task`.

    A run named with `ckpt=` is repeated. `adds` are further words, each with a space before it.
    """
    kept = []
    for word in words:
        key = re.sub(r"^[+~]+", "", word.partition("=")[0])
        if word in _FLAGS or key in (*_OWN, *changes) or key.startswith(f"{task}."):
            continue
        kept.append(redact_word(f"repeat={word.partition('=')[2]}" if key == "ckpt" else word, secrets))
    kept += [f"{key}={value}" for key, value in changes.items()]
    return " ".join(["nnrun", *map(shlex.quote, kept)]) + adds

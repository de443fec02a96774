"""The flags of the command line. Needs neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Sequence

# Hydra's own verbs, which only print, and the number of words that each takes.
HYDRA_VERBS = {"--cfg": 1, "-c": 1, "--info": 1, "-i": 1, "--shell-completion": 0, "-sc": 0, "--hydra-help": 0}
HYDRA_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
HYDRA_MODIFIERS = {"--resolve": 0, "--package": 1, "-p": 1}
# Flags of ours that take no word, and the field of CommandLine that each sets.
SWITCHES = {
    **dict.fromkeys(("-m", "--multirun"), "is_sweep"),
    "--json": "prints_json",
    **dict.fromkeys(("-q", "--quiet"), "is_quiet"),
    "--no-conf": "leaves_conf_out",
}
# Flags that take a word, and its description.
NEEDING_A_WORD = {
    **dict.fromkeys(("--config-dir", "-cd"), "a folder"),
    "--explain": "a setting, a section or a group, such as --explain trainer.epochs",
}
FLAGS = (
    *("--multirun", "--config-dir", "--no-conf", "--json", "--quiet", "--help", "--explain", "--version", "--run"),
    *(*HYDRA_VERBS, *HYDRA_MODIFIERS),
)


def is_unknown_flag(word: str) -> bool:
    """Return whether a word looks like a flag but is not one."""
    flag = word.partition("=")[0]
    return word.startswith("-") and flag not in (*FLAGS, "-h", "-r", *SWITCHES, *NEEDING_A_WORD)


def is_switched_on(name: str, words: Sequence[str]) -> bool:
    """Return whether one of some words is a switch that sets a field of CommandLine; the others may be invalid."""
    return any(SWITCHES.get(word) == name for word in words)


def take_config_dir(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the folder that --config-dir names, the last one if there are several, and the other words."""
    named, others, rest = None, [], list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if flag not in ("--config-dir", "-cd") or not (equals or rest):
            others.append(word)
        else:
            named = value if equals else rest.pop(0)
    return named, others

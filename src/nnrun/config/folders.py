"""The config folders of YAML options: ours, shipped with the package, and the user's. Needs neither hydra nor torch."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nnrun.base.errors import ConfigError
from nnrun.base.paths import abbreviated, why_out_of_reach

GROUPS = (
    "model",
    "tokenizer",
    "data",
    "augment",
    "problem",
    "loss",
    "metric",
    "optimizer",
    "scheduler",
    "trainer",
    "transfer",
    "early_stopping",
    "callback",
    "export",
    "logger",
    "report",
    "sweep",
    "launch",
    "experiment",
)
# Groups that only a sweep reads: its jobs, and a single run, have neither section.
OF_A_SWEEP = ("sweep", "launch")
# The user's config folder that is used by default, in the current directory.
_FOUND = Path("conf")


@functools.cache
def conf_dir() -> Path:
    """Return the folder of our options."""
    return shipped("conf")


def shipped(name: str) -> Path:
    """Return a folder shipped with nnrun: in the package in a wheel, at the top of the repository in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / name if (package / name).is_dir() else package.parents[1] / name


def own_folders(named: str | None, *, is_searched: bool = True) -> list[Path]:
    """Return the user's config folder, if any: the one named by --config-dir, else ./conf if it has a group of ours.

    A ./conf of another program is ignored, and with --no-conf, any ./conf. Raises ConfigError where the named folder is
    not a config folder, or where one of its options has the name of one of ours.
    """
    if named is None and (not is_searched or note_on_conf() is not None):
        return []
    folder = Path(named if named is not None else _FOUND)
    if named is not None and (reason := why_out_of_reach(folder)):
        raise ConfigError(f"--config-dir {abbreviated(named)}: {reason}")
    holds_groups = _holds_groups(folder)
    if named is not None and not holds_groups:
        what = "holds no folder of a group, such as model/" if folder.is_dir() else "is not a folder"
        raise ConfigError(f"--config-dir {named} {what}")
    folders = [folder.resolve()] if holds_groups and folder.resolve() != conf_dir() else []
    way_out = "rename it" + ("" if named is not None else f", or ignore {_FOUND} with --no-conf")
    clashes = [
        f"{folder / group / option}.yaml has the name of an option of nnrun; {way_out}"
        for folder in folders
        for group in GROUPS
        for option in options_in(folder, group)
        if (conf_dir() / group / f"{option}.yaml").is_file()
    ]
    if clashes:
        raise ConfigError(*clashes)
    return folders


def note_on_conf() -> str | None:
    """Return the note about a ./conf that belongs to another Hydra program; None where there is none.

    A config folder for nnrun has only groups. A file at its top with a list `defaults` is the main config of a program.
    """
    if not _holds_groups(_FOUND) or _FOUND.resolve() == conf_dir():
        return None
    whole = next((path for path in sorted(_FOUND.glob("*.yaml")) if _is_whole_config(path)), None)
    if whole is None:
        return None
    return (
        f"{_FOUND} belongs to another Hydra program ({whole} is its config) and is not used; use it with "
        f"--config-dir={_FOUND}"
    )


def _is_whole_config(path: Path) -> bool:
    """Return whether a YAML file is the main config of a Hydra program."""
    try:
        with path.open(encoding="utf-8", errors="replace") if path.is_file() else io.StringIO() as file:
            return path.name == "config.yaml" or any(line.startswith("defaults:") for line in file)
    except OSError:
        return False


def _holds_groups(folder: Path) -> bool:
    """Return whether a folder has a subfolder with the name of a group."""
    return any((folder / group).is_dir() for group in GROUPS)


def find_modules_beside(folders: Sequence[Path]) -> None:
    """Make the user's modules importable: those in the current directory, and those beside their config folder.

    They come last in the search path, so that they shadow nothing.
    """
    for place in (Path.cwd(), *(folder.parent for folder in folders)):
        if str(place) not in sys.path:
            sys.path.append(str(place))


def options_in(folder: Path, group: str) -> list[str]:
    """Return the names of a group's options in one folder, sorted. A leading `_` hides a file that others build on."""
    return sorted(path.stem for path in (folder / group).glob("*.yaml") if not path.stem.startswith("_"))


def options(group: str, own: Sequence[Path]) -> list[str]:
    """Return the names of a group's options, ours and the user's, including those in subfolders."""
    folders = [conf_dir(), *own]
    names = {name for folder in folders for name in options_in(folder, group)}
    for folder in folders:
        below = (folder / group).glob("*/**/*.yaml")
        names |= {str(path.relative_to(folder / group).with_suffix("")) for path in below}
    return sorted(names)


def option_file(group: str, option: str, own: Sequence[Path]) -> Path | None:
    """Return the YAML file of an option, or None where no folder has one."""
    candidates = (folder / group / f"{option}.yaml" for folder in [conf_dir(), *own])
    return next((path for path in candidates if path.is_file()), None)


def description(path: Path) -> str:
    """Return the first comment line of an option file; an empty string where there is none or it cannot be read."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("# ") and not line.startswith("# @"):
                return line[2:]
            if line and not line.startswith("#"):
                break
    return ""

"""The folders of YAML options: ours, shipped with the package, and the user's own. Needs neither hydra nor torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nnrun.base.errors import ConfigError
from nnrun.base.paths import abbreviated, why_out_of_reach

GROUPS = (
    "model",
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
    "experiment",
)


def conf_dir() -> Path:
    """Return the folder of our options: beside the package in a wheel, at the top of the repository in a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"


def own_folders(named: str | None) -> list[Path]:
    """Return the user's own folder, if any: the one named by --config-dir, else ./conf where it holds a group of ours.

    Raises ConfigError where the named one is none, or where one of its options has the name of one of ours.
    """
    folder = Path(named if named is not None else "conf")
    if named is not None and (reason := why_out_of_reach(folder)):
        raise ConfigError(f"--config-dir {abbreviated(named)}: {reason}")
    holds_groups = any((folder / group).is_dir() for group in GROUPS)
    if named is not None and not holds_groups:
        what = "holds no folder of a group, such as model/" if folder.is_dir() else "is not a folder"
        raise ConfigError(f"--config-dir {named} {what}")
    folders = [folder.resolve()] if holds_groups and folder.resolve() != conf_dir() else []
    clashes = [
        f"{folder / group / option}.yaml has the name of an option of nnrun's own; give it another name"
        for folder in folders
        for group in GROUPS
        for option in options_in(folder, group)
        if (conf_dir() / group / f"{option}.yaml").is_file()
    ]
    if clashes:
        raise ConfigError(*clashes)
    return folders


def find_modules_beside(folders: Sequence[Path]) -> None:
    """Let the user's own modules be imported: those where they stand, and those beside their folder of options.

    They come last, so that they hide nothing.
    """
    for place in (Path.cwd(), *(folder.parent for folder in folders)):
        if str(place) not in sys.path:
            sys.path.append(str(place))


def options_in(folder: Path, group: str) -> list[str]:
    """Return the names of a group's options in one folder, sorted. A leading `_` hides what others build on."""
    return sorted(path.stem for path in (folder / group).glob("*.yaml") if not path.stem.startswith("_"))


def options(group: str, own: Sequence[Path]) -> list[str]:
    """Return the names of a group's options, ours and the user's; of `experiment` also those in folders below."""
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
    """Return the first line of an option file that is written for people."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
        if line and not line.startswith("#"):
            break
    return ""

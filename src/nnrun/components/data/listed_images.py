"""The images below a folder by the names that a list may give them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.finding import find_images
from nnrun.components.data.layout import part_and_rest, same_name


class NoSuchImage(Exception):
    """A listed name fits no image (`is_missing`), or several; the message says which."""

    def __init__(self, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.is_missing = is_missing


class ListedImages:
    """The images below a folder, by their paths relative to it, with `/` and in one Unicode form.

    `num_below` counts those that were found in a folder further below than their name says.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.present = {same_name(shown(path.relative_to(root).as_posix())): path for path in find_images(root).images}
        self.num_below = 0
        # By the last part of the path, with its suffix and without.
        self._ending: dict[str, list[str]] = {}
        for name in self.present:
            pure = PurePosixPath(name)
            for last in {pure.name, pure.stem}:
                self._ending.setdefault(last, []).append(name)

    def named(self, text: str, part: str = "") -> str:
        """Return the path of the image that a text means; raise NoSuchImage where it means none.

        That is the path from the folder, also with Windows' separators, or the whole path of an image in it; or the
        end of the path of one image alone, also without its suffix. Where there are several, it is the one in the
        folder of the `part`.
        """
        name = text if text in self.present else self._relative(text)
        if name in self.present:
            return name
        path = self._root / name
        if path.is_file():
            self.present[name] = path  # of another suffix, or hidden, but named
            return name
        last = PurePosixPath(name).name
        fitting = [other for other in self._ending.get(last, ()) if _ends_with(other, name)]
        if len(fitting) > 1 and part:
            of_part = [other for other in fitting if part_and_rest(other.partition("/")[0])[0] == part]
            fitting = of_part if len(of_part) == 1 else fitting
        if len(fitting) > 1:
            raise NoSuchImage(f"may be {few(fitting, 3)}: write its path from data.root")
        if not fitting:
            alike = next((other for other in self.present if other.lower() == name.lower()), None)
            raise NoSuchImage("is not there" + (f"; {shown(alike)} is" if alike else ""), is_missing=True)
        self.num_below += fitting[0].count("/") > name.count("/")
        return fitting[0]

    def _relative(self, text: str) -> str:
        """Return a path from the folder as its names below each other; raise NoSuchImage where it leads elsewhere."""
        plain = text.replace("\\", "/")
        plain = plain.removeprefix(f"{same_name(shown(self._root.absolute()))}/")
        names = [name for name in plain.split("/") if name not in ("", ".")]
        if not names:
            raise NoSuchImage("is empty: it names no file" if not text else "names no file")
        if plain.startswith("/") or PureWindowsPath(text).drive or ".." in names or "\0" in text:
            raise NoSuchImage("leads out of data.root: write the path from there")
        return "/".join(names)


def _ends_with(path: str, name: str) -> bool:
    """Return whether a path ends with the names of another, whose suffix may be left out."""
    whole = PurePosixPath(path)
    own = whole if whole.name == PurePosixPath(name).name else whole.with_suffix("")
    return f"/{own}".endswith(f"/{name}")

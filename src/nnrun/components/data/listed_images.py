"""The images below a folder, found by the names that a list may give them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.finding import find_images
from nnrun.components.data.layout import part_and_rest, same_name


class NoSuchImage(Exception):
    """A listed name matches no image (`is_missing`), or several, or leads outside; the message says which."""

    def __init__(self, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.is_missing = is_missing


class ListedImages:
    """The images below a folder, by their paths relative to it, with `/` and in one Unicode form.

    `num_below` counts the images that were found in a deeper folder than their listed name says.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.present = {same_name(shown(path.relative_to(root).as_posix())): path for path in find_images(root).images}
        self.num_below = 0
        # By file name, with and without the suffix.
        self._ending: dict[str, list[str]] = {}
        for name in self.present:
            pure = PurePosixPath(name)
            for last in {pure.name, pure.stem}:
                self._ending.setdefault(last, []).append(name)

    def named(self, text: str, part: str = "") -> str:
        """Return the path of the image that a text means; raise NoSuchImage where it means none.

        The text is a path relative to the folder, also with backslashes; or the absolute path of an image in it; or
        the end of the path of a single image, with or without its suffix. Of several images, it means the one in the
        folder of the split `part`.
        """
        name = text if text in self.present else self._relative(text)
        if name in self.present:
            return name
        path = self._root / name
        if path.is_file():
            self.present[name] = path  # hidden or without an image suffix, but named
            return name
        last = PurePosixPath(name).name
        fitting = [other for other in self._ending.get(last, ()) if _ends_with(other, name)]
        if len(fitting) > 1 and part:
            of_part = [other for other in fitting if part_and_rest(other.partition("/")[0])[0] == part]
            fitting = of_part if len(of_part) == 1 else fitting
        if len(fitting) > 1:
            raise NoSuchImage(f"matches several images ({few(fitting, 3)}): write its path relative to data.root")
        if not fitting:
            alike = next((other for other in self.present if other.lower() == name.lower()), None)
            raise NoSuchImage("does not exist" + (f"; {shown(alike)} does" if alike else ""), is_missing=True)
        self.num_below += fitting[0].count("/") > name.count("/")
        return fitting[0]

    def _relative(self, text: str) -> str:
        """Return a path relative to the folder, in normal form; raise NoSuchImage where it leads outside."""
        plain = text.replace("\\", "/")
        plain = plain.removeprefix(f"{same_name(shown(self._root.absolute()))}/")
        names = [name for name in plain.split("/") if name not in ("", ".")]
        if not names:
            raise NoSuchImage("is empty: it names no file" if not text else "names no file")
        if plain.startswith("/") or PureWindowsPath(text).drive or ".." in names or "\0" in text:
            raise NoSuchImage("leads outside data.root: write its path relative to data.root")
        return "/".join(names)


def _ends_with(path: str, name: str) -> bool:
    """Return whether a path ends with the components of another, whose suffix may be missing."""
    whole = PurePosixPath(path)
    own = whole if whole.name == PurePosixPath(name).name else whole.with_suffix("")
    return f"/{own}".endswith(f"/{name}")

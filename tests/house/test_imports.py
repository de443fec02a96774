"""Imports run one way: the syntax trees of src/nnrun against one table. Lazy imports count; those for types do not."""

from __future__ import annotations

import ast
import fnmatch
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nnrun

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
# What stands beside the rooms: these import anything, and are imported by nobody but each other.
BESIDE = ("", "__main__", "api", "cli", "help")
# The groups whose components arrive through a `_target_`: only the same folder imports them by name.
BY_TARGET = ("models", "data", "augment", "losses", "optimizers", "schedulers", "exporters", "loggers")
# Among them, how files are read: no `_target_` names these.
SHARED = tuple(
    f"data.{name}"
    for name in (
        *(
            "images",
            "conversion",
            "finding",
            "left_out",
            "tally",
            "image_form",
            "order",
            "pixels",
            "idx",
            "array_files",
            "text_files",
        ),
        *(
            "table.reader",
            "table.files",
            "table.rows",
            "table.new_rows",
            "table.columns",
            "table.coding",
            "table.codes",
        ),
        *("table.given", "table.image_columns", "hub_sets", "image_rows", "opened_images", "unpacked_images"),
    )
)
INSTANTIATE = {"instantiate", "call", "get_object", "get_class", "get_method"}


@dataclass(frozen=True)
class Room:
    """What the modules of a room may import: which rooms, and which packages, each by all of it or by some modules."""

    docstring: str
    rooms: dict[str, tuple[str, ...]]
    packages: dict[str, tuple[str, ...]]


def read_table(page: str) -> dict[str, Room]:
    """The table of rooms as CONTRIBUTING shows it, by the room's name."""
    lines = page.partition("| room | what is in it |")[2].splitlines()[2:]
    rooms = {}
    for line in lines[: next((number for number, line in enumerate(lines) if not line), None)]:
        name, docstring, ours, others = (cell.strip() for cell in line.strip("|").split("|"))
        rooms[name.strip("`")] = Room(docstring, permissions(ours), permissions(others))
    return rooms


def permissions(cell: str) -> dict[str, tuple[str, ...]]:
    """What a cell allows, each with patterns of the modules that alone may import it; with none, all may."""
    found = {}
    for part in cell.split(","):
        whole, _, some = part.partition(":")
        for name in re.findall("`([^`]+)`", whole):
            found[name] = tuple(re.findall("`([^`]+)`", some))
    return found


def is_allowed(name: str, module: str, allowed: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a module, named without its room, may import a room or a package."""
    patterns = allowed.get(name)
    return patterns is not None and (not patterns or any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns))


ROOMS = read_table(PAGE.read_text(encoding="utf-8"))


parse = functools.cache(ast.parse)


def module_names(folder: Path) -> dict[str, str]:
    """The source of every module below a package, by its name without the package's: `core.loop`."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        sources[name.removesuffix("__init__").removesuffix(".")] = path.read_text(encoding="utf-8")
    return sources


def imported(source: str, modules: Iterable[str], *, types: bool = False) -> set[str]:
    """The modules that a source imports anywhere in it: ours as `nnrun.x`, others by name.

    Imports for type checkers are among them only where `types` says so.
    """
    known, names = set(modules), set[str]()
    for base, name in import_statements(source, types):
        full = f"{base}.{name}" if name else base
        names.add(full if full.removeprefix("nnrun.") in known and base.startswith("nnrun") else base)
    return names


@functools.cache
def import_statements(source: str, types: bool) -> frozenset[tuple[str, str]]:
    """What a source imports: a module with each name that is imported from it, or with none."""
    tree, found = parse(source), set[tuple[str, str]]()
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            found |= {(str(node.module), alias.name) for alias in node.names}
    return frozenset(found)


def ours(names: Iterable[str]) -> set[str]:
    return {name.removeprefix("nnrun").removeprefix(".") for name in names if name.partition(".")[0] == "nnrun"}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def wrong_imports(sources: Mapping[str, str]) -> list[str]:
    """Every import that the tables above do not allow, as `who -> what`."""
    wrong = []
    for module, source in sources.items():
        if module in BESIDE:
            continue
        room, here = ROOMS[room_of(module)], module.partition(".")[2]
        names = imported(source, sources)
        for other in ours(names):
            # The bare package holds the version and `load`: anyone may ask for its version.
            if other and room_of(other) != room_of(module) and not is_allowed(room_of(other), here, room.rooms):
                wrong.append(f"{module} -> {other}: {room_of(module)} does not import {room_of(other)}")
            group, name = (*other.split("."), "", "")[1], other.partition(".")[2]
            is_plug_in = room_of(other) == "components" and group in BY_TARGET and name not in SHARED
            if is_plug_in and module.split(".")[:2] != ["components", group]:
                wrong.append(f"{module} -> {other}: it arrives through a _target_")
        for top in {name.partition(".")[0] for name in names} - {"nnrun"} - sys.stdlib_module_names:
            if not is_allowed(top, here, room.packages):
                wrong.append(f"{module} -> {top}")
    return wrong


def instantiating(sources: Mapping[str, str]) -> set[str]:
    """The modules that import, or name, what builds objects from a config."""
    found = set()
    for module, source in sources.items():
        for node in ast.walk(parse(source)):
            named = isinstance(node, ast.ImportFrom) and str(node.module).startswith("hydra")
            if named and INSTANTIATE & {alias.name for alias in node.names}:  # type: ignore[attr-defined]
                found.add(module)
            if isinstance(node, ast.Attribute) and node.attr == "instantiate":
                found.add(module)
    return found


def reached(start: str, sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Everything that importing a module imports, with what that imports from outside; packages on the way count."""
    found: dict[str, set[str]] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module in found or module not in sources:
            continue
        # What is imported inside of a function is not imported yet.
        top = [node for node in parse(sources[module]).body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        names = imported(ast.unparse(ast.Module(top, [])), sources)
        found[module] = {name.partition(".")[0] for name in names}
        waiting += [*ours(names), module.rpartition(".")[0]]
    return found


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return module_names(Path(nnrun.__file__).parent)


def test_imports_run_one_way(sources: dict[str, str]) -> None:
    assert wrong_imports(sources) == []


def test_what_the_page_shows_keeps_to_its_table(sources: dict[str, str]) -> None:
    shown = dict(re.findall(r"`src/nnrun/([^`\n]+)\.py`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    shown = {path.replace("/", "."): text for path, text in shown.items()}
    assert {"components.metrics.brier", "tasks.census.run"} <= shown.keys()
    assert wrong_imports(sources | shown) == []


def test_there_are_no_circles(sources: dict[str, str]) -> None:
    # The bare package, which holds the version and a lazy `load`, is left out.
    graph = {module: ours(imported(source, sources)) - {"", module} for module, source in sources.items() if module}
    TopologicalSorter(graph).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"base.errors": {"tasks.train.run"}}).prepare()


def test_in_the_core_there_are_none_among_types_either(sources: dict[str, str]) -> None:
    core = {module: source for module, source in sources.items() if room_of(module) == "core"}
    graph = {module: ours(imported(core[module], core, types=True)) - {module} for module in core}
    TopologicalSorter(graph).prepare()
    assert "core.state" in graph["core.seams.callback"], (
        "an import for type checkers, which the negative control closes"
    )
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"core.state": {"core.seams.callback"}}).prepare()


def test_our_modules_import_a_seam_from_its_own_file(sources: dict[str, str]) -> None:
    importing = {module: ours(imported(sources[module], sources, types=True)) for module in sources}
    assert [module for module, names in importing.items() if "core.seams" in names] == []
    assert "core.seams" in ours(imported("from nnrun.core.seams import Split", sources)), "the negative control"


def test_ten_rooms_and_five_files_stand_in_the_house(sources: dict[str, str]) -> None:
    assert len(ROOMS) == 10
    assert {room_of(module) for module in sources} == {*ROOMS, *BESIDE}


def test_a_room_says_what_may_be_in_it_as_the_table_does(sources: dict[str, str]) -> None:
    assert {name: ast.get_docstring(parse(sources[name])) for name in ROOMS} == {
        n: r.docstring for n, r in ROOMS.items()
    }
    assert all(len(sources[name].splitlines()) == 1 for name in ROOMS)


def test_the_rooms_stand_on_each_other_without_a_circle() -> None:
    TopologicalSorter({name: room.rooms for name, room in ROOMS.items()}).prepare()


def test_every_permission_of_the_table_is_used(sources: dict[str, str]) -> None:
    rooms = {(m, room_of(other)) for m in sources for other in ours(imported(sources[m], sources))}
    packages = {(m, name.partition(".")[0]) for m in sources for name in imported(sources[m], sources)}
    for name, room in ROOMS.items():
        for other, patterns in (room.rooms | room.packages).items():
            by = [module for module, used in rooms | packages if used == other and room_of(module) == name]
            assert by, f"{name} -> {other}"
            assert [pattern for pattern in patterns if not fnmatch.filter(by, f"{name}.{pattern}")] == []


def test_one_module_instantiates(sources: dict[str, str]) -> None:
    assert instantiating(sources) == {"assembly.instantiate"}


def test_a_config_is_composed_without_torch(sources: dict[str, str]) -> None:
    beside = [module for module in sources if fnmatch.fnmatch(module, "components.*.ranges")]
    assert beside
    for start in ("config.compose", "config.composed", "api", "cli", "sweeps.sweep", "help", "__main__", *beside):
        modules = reached(start, sources)
        assert not [module for module, outside in modules.items() if "torch" in outside]
    assert "torch" in reached("tasks.train.run", sources)["assembly.kinds"], (
        "the negative control: a run does import it"
    )


def test_help_needs_nothing_from_outside(sources: dict[str, str]) -> None:
    modules = reached("help", sources)
    assert set().union(*modules.values()) - sys.stdlib_module_names == {"nnrun"}


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        (
            "core.loop",
            "from nnrun.tasks.train.run import run",
            "core.loop -> tasks.train.run: core does not import tasks",
        ),
        ("core.loop", "def f():\n    import hydra", "core.loop -> hydra"),
        ("core.loop", "import numpy as np", "core.loop -> numpy"),
        ("core.loop", "from rich.progress import Progress", "core.loop -> rich"),
        (
            "core.state",
            "from nnrun.components.callbacks import progress",
            "core.state -> components.callbacks.progress: core does not import components",
        ),
        ("base.errors", "from nnrun import core", "base.errors -> core: base does not import core"),
        (
            "assembly.training",
            "from nnrun.components.models.cnn import CNN",
            "assembly.training -> components.models.cnn: it arrives through a _target_",
        ),
        (
            "components.models.cnn",
            "from nnrun.components.data import digits",
            "components.models.cnn -> components.data.digits: it arrives through a _target_",
        ),
        (
            "components.models.cnn",
            "from nnrun.config.ranges import whole",
            "components.models.cnn -> config.ranges: components does not import config",
        ),
        ("config.validate", "import torch.nn", "config.validate -> torch"),
        ("checkpoints.locate", "import torch", "checkpoints.locate -> torch"),
        ("base.paths", "import yaml", "base.paths -> yaml"),
    ],
)
def test_a_planted_import_is_found(sources: dict[str, str], module: str, line: str, complaint: str) -> None:
    """The negative control of the whole file; the same import for type checkers is no import."""
    assert complaint in wrong_imports(sources | {module: f"{sources[module]}\n{line}\n"})
    body = "\n".join("    " + part for part in line.splitlines())
    for_types = f"{sources[module]}\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n{body}\n"
    assert wrong_imports(sources | {module: for_types}) == []


@pytest.mark.parametrize(
    "line",
    [
        "from hydra.utils import instantiate",
        "import hydra\nhydra.utils.instantiate({})",
        "from hydra.utils import call as f",
    ],
)
def test_a_planted_instantiate_is_found(sources: dict[str, str], line: str) -> None:
    assert instantiating(sources | {"cli": f"{sources['cli']}\n{line}\n"}) == {"assembly.instantiate", "cli"}

"""Imports run one way: the syntax trees of src/nnrun against one table. Lazy imports count; those for types do not."""

from __future__ import annotations

import ast
import fnmatch
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nnrun

# Lowest first. A module imports from its own layer and from those above it in this table, never from those below.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "base",
        (
            "secrets",
            "errors",
            "visible",
            "foreign_messages",
            "paths",
            "zipped",
            "plain_pickle",
            "stored_tensors",
            "safe_file",
            "faults",
            "settings",
            "files",
            "lock",
            "manifest",
            "contents",
            "card",
            "archive",
            "confdir",
            "clashes",
            "rules",
            "signals",
            "ending",
            "yaml_files",
            "latest",
            "confined",
            "rundir",
        ),
    ),
    ("core", ("core", "core.*")),
    (
        "plug-ins",
        (
            *("models*", "data*", "augment*", "losses*", "optimizers*", "schedulers*"),
            *("problems*", "exporters*", "loggers*"),
        ),
    ),
    ("watchers", ("report*", "callbacks*")),
    ("config", ("check", "overrides", "resolve", "idle")),
    ("building", ("kinds", "targets", "groups", "saved", "source", "compose", "build")),
    (
        "parts",
        (
            "skeleton",
            "weights",
            "weight_names",
            "heads",
            "saveable",
            "prepare",
            "opened",
            "seen",
            "seen_before",
            "unseen",
            "announcing",
            "scales",
            "loading",
            "artifacts",
            "session",
            "resuming",
            "transfer",
            "starting",
            "assembling",
            "training",
        ),
    ),
    ("run", ("run",)),
    ("inspection", ("inspection", "inspection.*")),
    ("prediction", ("prediction", "prediction.*")),
    ("doctor", ("doctor", "doctor.*")),
    ("commands", ("tasks", "ranking", "sweep", "helptext", "cli")),
    ("entry", ("", "guard", "__main__")),
)
# What each may import from outside the standard library and nnrun; what is not named may import nothing.
OUTSIDE: dict[str, tuple[str, ...]] = {
    "torch": (
        *("core.*", "models.*", "data.*", "augment.*", "losses.*", "optimizers.*", "schedulers.*"),
        *("problems.*", "exporters.*"),
        *("seen", "unseen", "announcing", "scales"),
        *("kinds", "prepare", "opened", "loading", "assembling", "training", "transfer", "weights", "artifacts"),
        *("weight_names", "heads", "saveable", "skeleton"),
        *("inspection.*", "doctor.*"),
        "prediction.*",
    ),
    "hydra": ("groups", "overrides", "resolve", "build", "cli"),
    "omegaconf": ("compose", "groups", "resolve", "saved", "yaml_files"),
    "yaml": ("groups", "yaml_files"),
    "rich": (
        *("report.*", "callbacks.progress", "data.download", "data.progress", "sweep", "inspection.*"),
        *("doctor.examine", "prediction.progress"),
    ),
    "torchvision": ("data.*", "augment.trivialaugment", "models.resnet18", "models.torchvision"),
    "timm": ("models.timm",),
    "PIL": (
        *("data.bare", "data.pixels", "inspection.sheet", "exporters.handler", "exporters.runner"),
        "doctor.hangs",
    ),
    "safetensors": ("exporters.safetensors",),
    "onnx": ("exporters.onnx", "exporters.onnx_int8", "prediction.onnx_file"),
    "onnxruntime": ("exporters.onnx_int8", "exporters.runner"),
    "numpy": ("exporters.runner", "data.arrays", "data.own", "prediction.arrays"),
}
# These arrive through a `_target_`: nobody imports them by name, except from within the same folder.
BY_TARGET = ("models", "data", "augment", "losses", "optimizers", "schedulers", "exporters", "loggers")
# Among them, how files are read, and where the script is that runs an artifact: no `_target_` names these.
SHARED = (
    "data.images",
    "data.finding",
    "data.left_out",
    "data.tally",
    "data.forms",
    "data.order",
    "data.pixels",
    "data.idx",
    "exporters",
)
INSTANTIATE = {"instantiate", "call", "get_object", "get_class", "get_method"}


parse = functools.cache(ast.parse)


def module_names(folder: Path) -> dict[str, str]:
    """The source of every module below a package, by its name without the package's: `core.loop`."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        sources[name.removesuffix("__init__").removesuffix(".")] = path.read_text(encoding="utf-8")
    return sources


def imported(source: str, modules: Iterable[str]) -> set[str]:
    """The modules that a source imports anywhere in it, except for type checkers: ours as `nnrun.x`, others by name."""
    known, tree = set(modules), parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            base = str(node.module)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                names.add(full if full.removeprefix("nnrun.") in known and base.startswith("nnrun") else base)
    return names


def ours(names: Iterable[str]) -> set[str]:
    return {name.removeprefix("nnrun").removeprefix(".") for name in names if name.partition(".")[0] == "nnrun"}


def layer_of(module: str) -> int:
    found = [rank for rank, (_, patterns) in enumerate(LAYERS) if any(fnmatch.fnmatch(module, p) for p in patterns)]
    assert len(found) == 1, f"{module or 'nnrun/__init__'} is in {len(found)} layers: put it in the table"
    return found[0]


def wrong_imports(sources: Mapping[str, str]) -> list[str]:
    """Every import that the tables above do not allow, as `who -> what`."""
    wrong = []
    for module, source in sources.items():
        names = imported(source, sources)
        for other in ours(names):
            # The bare package holds the version and `load`: anyone may ask for its version.
            if other and layer_of(other) > layer_of(module):
                wrong.append(f"{module} -> {other}: up from {LAYERS[layer_of(module)][0]}")
            folder = other.partition(".")[0]
            if folder in BY_TARGET and other not in SHARED and module.partition(".")[0] != folder:
                wrong.append(f"{module} -> {other}: it arrives through a _target_")
        for top in {name.partition(".")[0] for name in names} - {"nnrun"} - sys.stdlib_module_names:
            if not any(fnmatch.fnmatch(module, pattern) for pattern in OUTSIDE.get(top, ())):
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


def test_there_are_no_circles(sources: dict[str, str]) -> None:
    # The bare package, which holds the version and a lazy `load`, is left out.
    graph = {module: ours(imported(source, sources)) - {"", module} for module, source in sources.items() if module}
    TopologicalSorter(graph).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"errors": {"run"}}).prepare()


def test_every_layer_of_the_table_is_inhabited(sources: dict[str, str]) -> None:
    assert {layer_of(module) for module in sources} == set(range(len(LAYERS)))
    stale = [pattern for _, patterns in LAYERS for pattern in patterns if not fnmatch.filter(sources, pattern)]
    assert stale == []


def test_contributing_shows_every_room_of_the_table() -> None:
    """A module that joins the table joins the page for people too; one that left it leaves the page."""
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| floor | rooms |")[2]
    shown = {name.rstrip("/") for words in re.findall("`([^`]+)`", page) for name in words.split()}
    rooms = {pattern.rstrip("*").partition(".")[0] for _, patterns in LAYERS for pattern in patterns} - {""}
    assert shown - {"_target_", "loop", "state", "batches"} == rooms


def test_every_permission_of_the_table_is_used(sources: dict[str, str]) -> None:
    users = {(name.partition(".")[0], module) for module in sources for name in imported(sources[module], sources)}
    permissions = [(top, pattern) for top, patterns in OUTSIDE.items() for pattern in patterns]
    used = [pair for pair in permissions if any(top == pair[0] and fnmatch.fnmatch(m, pair[1]) for top, m in users)]
    assert used == permissions


def test_only_build_instantiates(sources: dict[str, str]) -> None:
    assert instantiating(sources) == {"build"}


def test_a_config_is_composed_without_torch(sources: dict[str, str]) -> None:
    for start in ("compose", "cli", "sweep", "helptext", "__main__"):
        modules = reached(start, sources)
        assert not [module for module, outside in modules.items() if "torch" in outside]
    assert "torch" in reached("run", sources)["kinds"], "the negative control: a run does import it"


def test_help_needs_nothing_from_outside(sources: dict[str, str]) -> None:
    modules = reached("helptext", sources)
    assert set().union(*modules.values()) - sys.stdlib_module_names == {"nnrun"}


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("core.loop", "from nnrun.run import run", "core.loop -> run: up from core"),
        ("core.loop", "def f():\n    import hydra", "core.loop -> hydra"),
        ("core.loop", "import numpy as np", "core.loop -> numpy"),
        ("core.loop", "from rich.progress import Progress", "core.loop -> rich"),
        ("core.state", "from nnrun.callbacks import progress", "core.state -> callbacks.progress: up from core"),
        ("errors", "from nnrun import core", "errors -> core: up from base"),
        ("training", "from nnrun.models.cnn import CNN", "training -> models.cnn: it arrives through a _target_"),
        ("models.cnn", "from nnrun.data import digits", "models.cnn -> data.digits: it arrives through a _target_"),
        ("check", "import torch.nn", "check -> torch"),
        ("rules", "import yaml", "rules -> yaml"),
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
    assert instantiating(sources | {"loading": f"{sources['loading']}\n{line}\n"}) == {"build", "loading"}

"""Draw the house of a checkout: its rooms, floors, arrows and circles, and what a few commands touch of it.

    python tests/support/house.py [SRC] [--json] [--static]

SRC is a folder `src`, by default this checkout's. `--static` leaves out what needs commands to be run (about a
minute); `--json` gives all that was counted, with names.

A room is an entry of src/nnrun, a folder or a loose file; the bare package, which holds the version and a lazy `load`,
is in no graph. Imports are read from the syntax trees: those inside functions count, those for type checkers do not. A
floor is a module, or a room, of the longest chain in which each imports the next; the members of a circle are one.

Of each command that reads a checkpoint: how often a pickle was parsed, and that of one file at the most; how often
a checkpoint was opened to be read, and hashed by hashlib.file_digest; and how many files those were.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import tokenize
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parents[2] / "src"
PROBE = Path(__file__).with_name("house_probe.py")
STEP_PATH = ("loop", "step", "state", "batches")
# A training of a moment: three steps an epoch.
TRAINING = ("model=mlp", "data.limit=200", "export=none", "trainer.progress=false")
# The step at which the run that is resumed was interrupted, in its second epoch.
STOP_AT = 5

Graph = Mapping[str, set[str]]


def rooms(package: Path) -> dict[str, int]:
    """Return how many entries a package has."""
    entries = [entry for entry in package.iterdir() if entry.name != "__pycache__"]
    folders = sum(entry.is_dir() for entry in entries)
    return {"folders": folders, "loose_files": len(entries) - folders}


def module_sources(package: Path) -> dict[str, str]:
    """Return the source of every module by its name without the package's, `core.loop`; the package itself is ""."""
    sources = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        sources[name.removesuffix("__init__").removesuffix(".")] = path.read_text(encoding="utf-8")
    return sources


def code_lines(source: str) -> int:
    """Return how many lines hold code: more than a comment, a docstring, or nothing."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # Of what is no comment, only ends of lines, indents and the end of the file have no text.
        if token.type != tokenize.COMMENT and token.string.strip():
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, but what is for type checkers alone."""
    yield node
    children: Sequence[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = node.orelse
    for child in children:
        yield from _running(child)


def import_graph(sources: Mapping[str, str], package: str = "nnrun") -> dict[str, set[str]]:
    """Return what each module imports of its own package; the bare package is left out."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        # Relative imports start from the package that a module lies in, or is.
        is_package = any(other.startswith(f"{module}.") for other in sources)
        here = f"{package}.{module}" if is_package else f"{package}.{module}".rpartition(".")[0]
        names: set[str] = set()
        for node in _running(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    names.add(full if full.removeprefix(f"{package}.") in sources else base)
        ours = {name.removeprefix(f"{package}.") for name in names if name.startswith(f"{package}.")}
        graph[module] = (ours & sources.keys()) - {"", module}
    graph.pop("", None)
    return graph


def room_graph(graph: Graph) -> dict[str, set[str]]:
    """Return which rooms each room imports from, others than itself."""
    found: dict[str, set[str]] = {}
    for module, others in graph.items():
        room = module.partition(".")[0]
        found.setdefault(room, set()).update({other.partition(".")[0] for other in others} - {room})
    return found


def components(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components, each behind those that it imports (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def circles(graph: Graph) -> list[list[str]]:
    """Return the circles: components of more than one member."""
    return [members for members in components(graph) if len(members) > 1]


def longest_chain(graph: Graph) -> list[str]:
    """Return a longest chain from the top to the ground, with ` = ` between the members of a circle."""
    chains: dict[str, list[str]] = {}
    for members in components(graph):
        below = [chains[other] for member in members for other in sorted(graph[member]) if other not in members]
        chain = [" = ".join(members), *max(below, key=len, default=[])]
        chains.update(dict.fromkeys(members, chain))
    return max(chains.values(), key=len, default=[])


def _picture(graph: Graph) -> dict[str, Any]:
    """Return the figures of a graph."""
    chain = longest_chain(graph)
    return {
        "floors": len(chain),
        "chain": chain,
        "arrows": sum(len(others) for others in graph.values()),
        "circles": circles(graph),
    }


def static_counts(src: Path) -> dict[str, Any]:
    """Return all that is counted without running anything."""
    package = src / "nnrun"
    sources = module_sources(package)
    graph = import_graph(sources)
    step_path = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name in STEP_PATH
        for path in sorted((package / "core").rglob(f"{name}.py"))
    }
    return {
        "rooms": rooms(package),
        "modules": len(sources),
        "lines": sum(len(source.splitlines()) for source in sources.values()),
        "code_lines": sum(code_lines(source) for source in sources.values()),
        "module_graph": _picture(graph),
        "room_graph": _picture(room_graph(graph)),
        "step_path": step_path,
    }


def png(size: int) -> bytes:
    """Return a gray square as a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x80" * size) * size)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def watch(
    src: Path, folder: Path, words: Sequence[str] = (), load: str | None = None, stop_at: int | None = None
) -> dict[str, Any]:
    """Run one command in a process of its own; return what house_probe.py saw of it, or `error` where it failed.

    The words of a command line, or a path for `nnrun.load`; at the step `stop_at` a SIGTERM comes.
    """
    out = folder / "seen.json"
    out.unlink(missing_ok=True)
    spec = {"src": str(src), "out": str(out), "words": [*words], "load": load, "stop_at": stop_at}
    fixed = {"PYTHONPATH": str(src), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-P", str(PROBE), json.dumps(spec)],
        cwd=folder,
        env=os.environ | fixed | {"CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != (143 if stop_at else 0) or not out.exists():
        return {"error": f"exit code {done.returncode}: {' '.join(done.stderr.split())[-300:]}"}
    seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert seen.pop("watched_to_the_end"), "something has taken the profile function away"
    return seen


def run_counts(src: Path) -> dict[str, Any]:
    """Return what is counted of commands that are run."""
    with tempfile.TemporaryDirectory(prefix="house-") as name:
        folder = Path(name).resolve()
        run, stopped, image = folder / "run", folder / "stopped", folder / "image.png"
        image.write_bytes(png(8))
        first = ("model=mlp", "data.limit=200", "trainer.max_steps=1", "export=none", f"hydra.run.dir={folder / 'one'}")
        step = watch(src, folder, first)
        for words, stop_at in (
            ((*TRAINING, "trainer.epochs=1", f"hydra.run.dir={run}"), None),
            ((*TRAINING, "trainer.epochs=3", f"hydra.run.dir={stopped}"), STOP_AT),
        ):
            made = watch(src, folder, words, stop_at=stop_at)
            assert "error" not in made, made["error"]
        commands = {
            "ckpt=RUN": (f"ckpt={run}", "export=none"),
            "resume=RUN": (f"resume={stopped}",),
            "init_from=RUN": (*TRAINING, "trainer.epochs=1", f"init_from={run}", f"hydra.run.dir={folder / 'new'}"),
            "task=predict": ("task=predict", f"ckpt={run}", f"input={image}"),
            "task=inspect": ("task=inspect", f"ckpt={run}"),
        }
        readings = {name: watch(src, folder, words) for name, words in commands.items()}
        readings["nnrun.load(RUN)"] = watch(src, folder, load=str(run))
    for seen in readings.values():
        seen.pop("first_step", None)
    return {"first_step": step.get("first_step") or step, "readings": readings}


def table(counts: Mapping[str, Any]) -> str:
    """Return the counts as plain text."""
    rooms, graphs = counts["rooms"], {"modules": counts["module_graph"], "rooms": counts["room_graph"]}
    arrows = f"{graphs['rooms']['arrows']} room -> room, {graphs['modules']['arrows']} module -> module"
    path = counts["step_path"]
    rows = [
        ("rooms", f"{sum(rooms.values())}: {rooms['folders']} folders, {rooms['loose_files']} loose files"),
        ("modules", f"{counts['modules']}"),
        ("lines", f"{counts['lines']:,}, of code {counts['code_lines']:,}"),
        ("floors", f"{graphs['rooms']['floors']} of rooms, {graphs['modules']['floors']} of modules"),
        ("arrows", arrows),
    ]
    for what, graph in graphs.items():
        rows.append((f"circles of {what}", f"{len(graph['circles'])}"))
        rows += [("", f"{len(members)}: {' '.join(members)}") for members in graph["circles"]]
    rows.append(("step path", f"{sum(path.values())} lines: {', '.join(f'{n} {num}' for n, num in path.items())}"))
    if step := counts.get("first_step"):
        told = step.get("error") or f"{len(step['imported'])} imported, {len(step['executed'])} of them ran a function"
        rows.append(("files to first step", told))
    lines = [f"{name:<20} {text}" for name, text in rows]
    if readings := counts.get("readings"):
        heads = ("parsed", "one file", "opened", "hashed", "files")
        lines += ["", f"{'checkpoints are':<20} " + " ".join(f"{head:>8}" for head in heads)]
        for name, seen in readings.items():
            if "error" in seen:
                lines.append(f"{name:<20} {seen['error']}")
                continue
            opened, parsed = seen["opened"].values(), seen["parses"].values()
            numbers = (sum(parsed), max(parsed, default=0), sum(opened), seen["hashes"], len(opened))
            lines.append(f"{name:<20} " + " ".join(f"{number:>8}" for number in numbers))
    return "\n".join(lines)


def main() -> None:
    """Count, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", nargs="?", type=Path, default=SRC, metavar="SRC", help="a folder src, or this one's")
    parser.add_argument("--json", action="store_true", help="all that was counted, for a machine")
    parser.add_argument("--static", action="store_true", help="run no command")
    arguments = parser.parse_args()
    src = arguments.src.resolve()
    if not (src / "nnrun").is_dir():
        parser.error(f"{arguments.src} holds no folder nnrun")
    counts = static_counts(src)
    if not arguments.static:
        counts |= run_counts(src)
    print(json.dumps(counts, indent=1) if arguments.json else table(counts))


if __name__ == "__main__":
    main()

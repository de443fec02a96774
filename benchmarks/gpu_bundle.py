"""Pack what `make gpu` needs on a machine that has PyTorch but no internet access: build/gpu-bundle, below 60 MB.

    make gpu-bundle                        the source, and the wheels that such a machine may lack
    make gpu-bundle ARGS="--root DIR"      also MNIST, compressed, from DIR/MNIST/raw

The machine must have torch, torchvision, numpy, onnx, onnxruntime, onnxscript, safetensors, rich, Pillow, pytest, and
their dependencies.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
BUNDLE = REPOSITORY / "build" / "gpu-bundle"
MOST_BYTES = 60_000_000
THERE = (
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "rich",
    "pillow",
    "pytest",
)
SOURCE = ("src", "conf", "tests", "benchmarks", "docs", "Makefile", "pyproject.toml", "README.md", "LICENSE")
MNIST_FILES = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]


def needed(names: Iterable[str]) -> set[str]:
    """Return packages and all their dependencies, without extras."""
    found: set[str] = set()
    waiting = [_plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        waiting += [
            _plain(one.name) for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return found


def to_bundle() -> list[str]:
    """Return the packages to pack: nnrun's dependencies without those that the machine has."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    ours = [Requirement(line).name for line in re.findall(r'"([^"]+)"', block.group(1))]
    return sorted(needed(ours) - needed(THERE))


def _plain(name: str) -> str:
    """Return a package's normalized name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def make_wheels(folder: Path) -> list[str]:
    """Fetch or build the wheels, of the versions that are installed here."""
    folder.mkdir()
    exact = [f"{name}=={metadata.version(name)}" for name in to_bundle()]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), *exact], check=True)
    return sorted(path.name for path in folder.glob("*.whl"))


def pack_source(path: Path) -> None:
    """Write the source as one archive, without build products."""

    def without_built(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = Path(info.name).name
        return None if name == "__pycache__" or name.startswith(".") else info

    with tarfile.open(path, "w:xz") as archive:
        for name in SOURCE:
            archive.add(REPOSITORY / name, arcname=f"nnrun/{name}", filter=without_built)


def pack_mnist(root: Path, folder: Path) -> None:
    """Compress MNIST's files into `folder/MNIST/raw`."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        source = root / "MNIST" / "raw" / name
        packed = source.with_name(f"{name}.gz")
        content = source.read_bytes() if source.is_file() else gzip.decompress(packed.read_bytes())
        (raw / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))


def main(arguments: list[str] | None = None) -> int:
    """Pack; return 1 if the bundle is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=None, help="contains MNIST/raw; without it, MNIST is not packed")
    parser.add_argument("--out", type=Path, default=BUNDLE, help="default: build/gpu-bundle")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    wheels = make_wheels(options.out / "wheels")
    pack_source(options.out / "source.tar.xz")
    if options.root is not None:
        pack_mnist(options.root, options.out / "data")
    # Wheels for one Python version: unpacked under another one, their compiled modules are not found.
    bound = [name for name in wheels if not name.endswith("-none-any.whl")]
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    about = {"wheels": wheels, "bound_to_one_python": bound, "mnist": options.root is not None, "bytes": size}
    (options.out / "bundle.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    print(f"{options.out}: {size / 1e6:.1f} MB; {', '.join(wheels)}{'; MNIST' if options.root else ''}")
    for name in bound:
        print(f"note: {name} has compiled modules, for this Python version only")
    if size > MOST_BYTES:
        print(f"the bundle has {size:,} bytes; allowed: {MOST_BYTES:,}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Fetch Vega's scripts from npm into src/nnrun/runs/vega, with hashes and licences: `make vega`. Needs npm."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "src" / "nnrun" / "runs" / "vega"
# In the order in which a page loads them.
VERSIONS = {"vega": "6.4.0", "vega-lite": "6.4.3", "vega-embed": "7.3.0"}
# Dependencies of their command lines and of Node, which the scripts do not contain.
NOT_BUNDLED = {"yargs", "commander", "iconv-lite", "rw", "vega-canvas", "vega-typings", "@types/estree"}


def fetch(folder: Path) -> None:
    """Write the scripts, `versions.json` and `LICENSES.txt` to a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        wanted = [f"{name}@{version}" for name, version in VERSIONS.items()]
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", temporary, *wanted]
        subprocess.run(install, check=True)
        modules = home / "node_modules"
        folder.mkdir(parents=True, exist_ok=True)
        scripts = []
        for name, version in VERSIONS.items():
            file = f"{name}.min.js"
            shutil.copyfile(modules / name / "build" / file, folder / file)
            package = package_of(modules / name)
            assert package["version"] == version
            scripts.append(
                {
                    "file": file,
                    "package": name,
                    "version": version,
                    "license": package["license"],
                    "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
                }
            )
        packages = bundled(modules)
    (folder / "versions.json").write_text(json.dumps({"schema": 1, "scripts": scripts}, indent=2) + "\n")
    (folder / "LICENSES.txt").write_text(licenses(packages))


def package_of(folder: Path) -> dict[str, Any]:
    """The package.json of an installed package."""
    return json.loads((folder / "package.json").read_text(encoding="utf-8"))


def bundled(modules: Path) -> dict[str, tuple[str, str]]:
    """The packages in the scripts, each with its licence's name and text."""
    found: dict[str, tuple[str, str]] = {}
    waiting = list(VERSIONS)
    while waiting:
        name = waiting.pop()
        if name in found or name in NOT_BUNDLED:
            continue
        package = package_of(modules / name)
        (license,) = (path for path in (modules / name).iterdir() if path.name.upper().startswith("LICEN"))
        text = license.read_text(encoding="utf-8")
        found[name] = package["license"], text
        waiting += package.get("dependencies", {})
    return found


OWNER = re.compile(r"(\(c\)|copyright \(c\)|copyright \d{4})", re.IGNORECASE)
TITLE = re.compile(r"all rights reserved|(the )?(mit|isc) license", re.IGNORECASE)


def licenses(packages: dict[str, tuple[str, str]]) -> str:
    """All licences, each text once, after the packages that are under it and their copyright lines."""
    groups: dict[tuple[str, str], tuple[str, list[str], list[str]]] = {}
    for name, (title, text) in sorted(packages.items()):
        lines = [line.strip() for line in text.splitlines()]
        # One text may be wrapped in several ways.
        rest = "\n".join(line for line in lines if not OWNER.match(line) and not TITLE.match(line)).strip()
        words = re.sub(r"\W+", " ", rest).casefold()
        _, names, all_owners = groups.setdefault((title, words), (rest, [], []))
        names.append(name)
        all_owners += [line for line in lines if OWNER.match(line) and line not in all_owners]
    parts = ["The scripts in this folder contain these packages of npm.\n"]
    for (title, _), (rest, names, owners) in sorted(groups.items()):
        parts.append("\n".join([f"{'=' * 40} {title}", ", ".join(names), "", *owners, "", rest, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    fetch(FOLDER)

"""Export a trained network in each format asked for, and prove each artifact before it is called good."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnrun.assembly.data.opened import Opened, head, limited
from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import NnrunError, ResourceError
from nnrun.base.files import TEMPORARY_SUFFIX, check_room, saving, sync_all, sync_folder, write_json
from nnrun.base.foreign_errors import causes_of, lacks_package, of_the_machine
from nnrun.base.meter import meter
from nnrun.base.paths import inside, without_paths
from nnrun.config.from_checkpoint import exported_config
from nnrun.config.source import REJECTED_SUFFIX
from nnrun.core.randomness import SPLIT
from nnrun.core.seams.data import Tree
from nnrun.core.seams.export import CannotExport, ExportContext, Exporter
from nnrun.core.splits import Drawing
from nnrun.proof.verdict import VERIFICATION_SCHEMA, Verification
from nnrun.proof.verify import Standard, verify
from nnrun.runs.console import Console

# Of the folder for temporary files, which some exporters need.
_LEAST_ROOM = 2**20


def export_context(job: Job, data: Opened, standard: Standard, score: float) -> ExportContext:
    """Return what exporters may need to know of a run and of its network, whose metric to quote is `score`."""
    drawing = Drawing(job.settings.data.split_by, SPLIT, job.settings.data.split_seed)

    def calibration(num_samples: int) -> Tree:
        return limited(data.train, data.targets, num_samples, drawing).loaded().inputs

    tree = job.tree(data.known, data.became)
    config = exported_config(tree, job.composed.secrets)
    example, run_id = head(data.test), run_id_of(standard.network)
    return ExportContext(example, standard.problem, standard.preprocessing, run_id, score, calibration, config)


def run_id_of(model: nn.Module) -> str:
    """Return the id of the run that a network is of: a hash of its weights, the same wherever it is run."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def export_all(
    sections: Mapping[str, Mapping[str, Any]], standard: Standard, context: ExportContext, run: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """Return, by format, where each artifact is and what its proof found. One that fails is renamed to `*.rejected`."""
    rows: dict[str, dict[str, Any]] = {}
    for name, section in sections.items():
        exporter = build(section, f"export.{name}", Exporter)  # type: ignore[type-abstract]
        console.say(f"exporting to {name}; verifying on {len(standard.test):,} test samples")
        start = time.perf_counter()
        with _whole_folder(run, name) as making:
            try:
                path, proof = _export_one(exporter, standard, context, making)
            except ModuleNotFoundError as error:
                raise lacks_package(f"export.{name}", error) from error
            seconds = time.perf_counter() - start
            proven = {"run_id": context.run_id, **proof.to_json()}
            write_json(making / "verification.json", proven, VERIFICATION_SCHEMA)
        place = Path("exports") / name / os.path.relpath(path, making)
        rows[name] = {"path": str(place), "seconds": round(seconds, 3), **proven}
    return rows


@contextmanager
def _whole_folder(run: Path, name: str) -> Iterator[Path]:
    """Yield the folder that an artifact is made and proven in; it gets its name, `exports/NAME`, when it is whole.

    Whatever ends the block before, nothing is left of it. Raises ResourceError where the disk does not take it.
    """
    folder, making = inside(run, "exports", name), inside(run, "exports", f".{name}{TEMPORARY_SUFFIX}")
    undoing = at_the_end(partial(shutil.rmtree, making, ignore_errors=True))
    try:
        with saving(folder):
            # What a run that was killed here left behind.
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
        yield making
        with saving(folder):
            sync_all(making)
            # A resumed run may have been stopped after this before.
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        forget(undoing)


def _export_one(
    exporter: Exporter, standard: Standard, context: ExportContext, folder: Path
) -> tuple[Path, Verification]:
    """Return an artifact's path, by which one can see whether it is good, and its proof."""
    try:
        with meter(f"exporting to {_named(folder).name}", ticks=True):
            path = exporter.export(standard.network, context, folder)
    except (NnrunError, ModuleNotFoundError):
        raise
    except CannotExport as error:
        return folder, Verification.unusable(exporter, 0, f"it cannot be exported: {without_paths(str(error))}")
    except (Exception, SystemExit) as error:
        # An exporter fails on networks that it cannot express, in as many ways as there are networks.
        if machine := _of_the_machine(error, standard.network, folder):
            raise machine from error
        reason = f"it cannot be exported: {type(error).__name__}: {_first(error)}"
        return folder, Verification.unusable(exporter, 0, reason)
    if not isinstance(path, Path) or not path.exists() or folder.resolve() not in path.resolve().parents:
        # Without its folders: what stands in a proof is given away.
        elsewhere = f"which is no file or folder in exports/{_named(folder).name}"
        shown = f"{path.name!r}, {elsewhere}" if isinstance(path, Path) else without_paths(f"{path!r}, no path")
        return folder, Verification.unusable(exporter, 0, f"its exporter names {shown}")
    proof = verify(path, exporter, standard)
    if not path.exists():
        return folder, Verification.unusable(exporter, 0, f"{path.name} was gone when it was loaded")
    if not proof.ok:
        path = path.rename(path.with_name(path.name + REJECTED_SUFFIX))
    return path, proof


def _of_the_machine(error: BaseException, model: nn.Module, folder: Path) -> ResourceError | None:
    """Return what the machine has to do with an exporter's error: no room, no permission, no memory; None for nothing.

    Libraries put a disk's error in words of their own, or read the half of a file that they wrote: where a file as
    large as the weights cannot be had, that was it.
    """
    machine = [cause for cause in causes_of(error) if of_the_machine(cause)]
    num_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    try:
        with saving(_named(folder)):
            for cause in machine:
                if isinstance(cause, OSError):
                    raise cause
        if machine:
            return of_the_machine(machine[0])
        with saving(_named(folder), num_bytes):
            check_room(folder, num_bytes)
        with saving(Path(tempfile.gettempdir())):
            check_room(Path(tempfile.gettempdir()), _LEAST_ROOM)
    except ResourceError as lacks:
        return lacks
    return None


def _named(folder: Path) -> Path:
    """Return the name that the folder of an artifact in the making is to get."""
    return folder.with_name(folder.name.removeprefix(".").removesuffix(TEMPORARY_SUFFIX))


def _first(error: BaseException) -> str:
    """Return the first lines of an exporter's error, without colours; the rest are pages."""
    return without_paths(" ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n")[:3]))[:300]

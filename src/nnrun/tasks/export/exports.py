"""Export a trained network in each requested format, and verify each artifact."""

from __future__ import annotations

import copy
import hashlib
import json
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
from nnrun.assembly.network import Measured, Trained
from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import NnrunError, ResourceError
from nnrun.base.files import TEMPORARY_SUFFIX, check_room, saving, sync_all, sync_folder, write_json
from nnrun.base.foreign_errors import causes_of, lacks_package, of_the_machine
from nnrun.base.meter import meter
from nnrun.base.paths import inside, without_paths
from nnrun.base.shown import counted
from nnrun.checkpoints.model_card import MAX_BYTES
from nnrun.config.from_checkpoint import exported_config
from nnrun.config.source import REJECTED_SUFFIX
from nnrun.core.randomness import SPLIT
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.export import CannotExport, ExportContext, Exporter, retry_of
from nnrun.core.seams.problem import Problem
from nnrun.core.splits import Drawing
from nnrun.proof.verdict import VERIFICATION_SCHEMA, Verification
from nnrun.proof.verify import Standard, verify
from nnrun.runs.console import Console
from nnrun.tasks.beside import write_beside

# Free bytes that exporters may need in the folder for temporary files.
_LEAST_ROOM = 2**20


def standard_of(job: Job, data: Opened, problem: Problem, trained: Trained, measured: Measured) -> Standard:
    """Return what artifacts are verified against: on the CPU, in fp32, a network that runs anywhere."""
    network = copy.deepcopy(trained.network).cpu().float().eval()
    outputs = measured.test_outputs if job.device.type == "cpu" else None
    return Standard(network, trained.preprocessing, problem, data.test, outputs)


def export_context(job: Job, data: Opened, standard: Standard, score: float) -> ExportContext:
    """Return what exporters may need to know about a run and its network; `score` is its main metric."""
    drawing = Drawing(job.settings.data.split_by, SPLIT, job.settings.data.split_seed)

    def calibration(num_samples: int) -> Tree:
        return limited(data.train, data.targets, num_samples, drawing).loaded().inputs

    tree = job.tree(data.known, data.became)
    config = exported_config(tree, job.composed.secrets)
    example, run_id = head(data.test), run_id_of(standard.network)
    return ExportContext(
        example, standard.problem, standard.preprocessing, run_id, score, calibration, config, data.in_shape
    )


def run_id_of(model: nn.Module) -> str:
    """Return the id of a network's run: a hash of its weights, the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def export_all(
    sections: Mapping[str, Mapping[str, Any]], standard: Standard, context: ExportContext, run: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """Return the path and the verification of each artifact, by format. One that fails is renamed to `*.rejected`."""
    rows: dict[str, dict[str, Any]] = {}
    for name, section in sections.items():
        exporter = build(section, f"export.{name}", Exporter)  # type: ignore[type-abstract]
        console.say(f"exporting to {name}; verifying on {counted(len(standard.test), 'test sample')}")
        start = time.perf_counter()
        with _whole_folder(run, name) as making:
            try:
                path, verification = _export_one(exporter, standard, context, making)
            except ModuleNotFoundError as error:
                raise lacks_package(f"export.{name}", error) from error
            seconds = time.perf_counter() - start
            row = {"run_id": context.run_id, **verification.to_json()}
            write_json(making / "verification.json", row, VERIFICATION_SCHEMA)
        place = Path("exports") / name / os.path.relpath(path, making)
        rows[name] = {"path": str(place), "seconds": round(seconds, 3), **row, **_published(exporter, run, name, row)}
    return rows


def _published(exporter: Exporter, run: Path, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return where an exporter sent a verified artifact, or why it was not sent; nothing if it sends none."""
    publish = getattr(exporter, "publish", None)
    if publish is None or not row["ok"]:
        return {}
    try:
        with meter(f"uploading {name}", ticks=True):
            found = publish(inside(run, "exports", name))
    except ResourceError as error:
        return {"not_published": [complaint.text for complaint in error.complaints]}
    return {} if found is None else {"published": found}


@contextmanager
def _whole_folder(run: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder to make and verify an artifact in; rename it to `exports/NAME` when it is complete.

    If the block does not end normally, the folder is removed. Raises ResourceError if writing to the disk fails.
    """
    folder, making = inside(run, "exports", name), inside(run, "exports", f".{name}{TEMPORARY_SUFFIX}")
    undoing = at_the_end(partial(shutil.rmtree, making, ignore_errors=True))
    try:
        with saving(folder):
            # Left behind by a run that was killed here.
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
        yield making
        with saving(folder):
            sync_all(making)
            # From before the run was resumed, if it was stopped after this point.
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        forget(undoing)


def _export_one(
    exporter: Exporter, standard: Standard, context: ExportContext, folder: Path
) -> tuple[Path, Verification]:
    """Return an artifact's path, renamed if it was rejected, and its verification.

    If it fails and its exporter has another way, it is exported again; the notes keep the first failure.
    """
    path, verification = _export_once(exporter, standard, context, folder)
    other = None if verification.ok else retry_of(exporter, verification.reason or "")
    if other is None:
        return path, verification
    if path.is_file():
        path.unlink()
    elif path != folder:
        shutil.rmtree(path)
    return _export_once(other, standard, context, folder)


def _export_once(
    exporter: Exporter, standard: Standard, context: ExportContext, folder: Path
) -> tuple[Path, Verification]:
    """Return an artifact's path, renamed if it was rejected, and its verification; try once."""
    try:
        with meter(f"exporting to {_named(folder).name}", ticks=True):
            path = exporter.export(standard.network, context, folder)
    except (NnrunError, ModuleNotFoundError):
        raise
    except CannotExport as error:
        return folder, Verification.unusable(exporter, 0, f"it cannot be exported: {without_paths(str(error))}")
    except (Exception, SystemExit) as error:
        # Exporters raise many kinds of errors for networks that they do not support.
        if machine := _of_the_machine(error, standard.network, folder):
            raise machine from error
        reason = f"it cannot be exported: {type(error).__name__}: {_first(error)}"
        return folder, Verification.unusable(exporter, 0, reason)
    if not isinstance(path, Path) or not path.exists() or folder.resolve() not in path.resolve().parents:
        # Without its folders: verification.json is published with the artifact.
        elsewhere = f"which is not a file or folder in exports/{_named(folder).name}"
        shown = f"{path.name!r}, {elsewhere}" if isinstance(path, Path) else without_paths(f"{path!r}, not a path")
        return folder, Verification.unusable(exporter, 0, f"its exporter returned {shown}")
    write_beside(context.preprocessing, folder)
    if note := too_large(context.preprocessing):
        exporter.notes = [*getattr(exporter, "notes", ()), note]  # type: ignore[attr-defined]
    verification = verify(path, exporter, standard)
    if not path.exists():
        return folder, Verification.unusable(exporter, 0, f"{path.name} was gone after it was loaded")
    if not verification.ok:
        path = path.rename(path.with_name(path.name + REJECTED_SUFFIX))
    return path, verification


def too_large(preprocessing: Preprocessing) -> str:
    """Return the note on a preprocessing, such as a tokenizer, that is larger than nnrun reads; empty for others."""
    size = len(json.dumps(preprocessing.to_plain(), default=str))
    if size <= MAX_BYTES:
        return ""
    files = " and ".join(getattr(preprocessing, "beside", dict)()) or "it in a program of your own"
    return (
        f"its preprocessing has {size / 1e6:,.0f} MB, but nnrun reads {MAX_BYTES / 1e6:,.0f} MB of an artifact: "
        f"predict with the run, or use {files} beside the artifact"
    )


def _of_the_machine(error: BaseException, model: nn.Module, folder: Path) -> ResourceError | None:
    """Return the machine's error behind an exporter's error (disk space, permission, memory), or None.

    Libraries reword a disk's error, or fail on a file that they wrote only in part: if there is no room for a file as
    large as the weights, the disk was the cause.
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
    """Return the final path of an artifact's temporary folder."""
    return folder.with_name(folder.name.removeprefix(".").removesuffix(TEMPORARY_SUFFIX))


def _first(error: BaseException) -> str:
    """Return the first lines of an exporter's error, without colors; the rest may fill pages."""
    return without_paths(" ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n")[:3]))[:300]

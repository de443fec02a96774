"""Export a trained network in each format asked for, and prove each artifact before it is called good."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.build import build
from nnrun.compose import REJECTED_SUFFIX
from nnrun.core.seams import CannotExport, ExportContext, Exporter, Preprocessing
from nnrun.core.verification import Verification
from nnrun.core.verify import Standard, verify
from nnrun.errors import NnrunError
from nnrun.faults import lacks_package
from nnrun.files import saving, write_json
from nnrun.opened import Opened, head, limited
from nnrun.paths import inside
from nnrun.prepare import Job
from nnrun.report.console import Console
from nnrun.saved import saved_config


def export_context(job: Job, data: Opened, preprocessing: Preprocessing, run_id: str, accuracy: float) -> ExportContext:
    """Return what exporters may need to know of a run."""
    split_seed = job.settings.data.split_seed

    def calibration(num_samples: int) -> Tensor:
        return tree_leaves(limited(data.train, num_samples, split_seed).inputs)[0]

    config = saved_config(job.tree(data.in_shape, len(data.class_names)))
    return ExportContext(head(data.test), data.class_names, preprocessing, run_id, accuracy, calibration, config)


def export_all(
    sections: Mapping[str, Mapping[str, Any]], standard: Standard, context: ExportContext, run: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """Return, by format, where each artifact is and what its proof found. One that fails is renamed to `*.rejected`."""
    rows: dict[str, dict[str, Any]] = {}
    for name, section in sections.items():
        exporter = build(section, f"export.{name}", Exporter)  # type: ignore[type-abstract]
        folder = inside(run, "exports", name)
        console.say(f"exporting {name}, and proving it on {len(standard.test):,} test samples")
        with saving(folder):
            # A resumed run may have been stopped here before.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        start = time.perf_counter()
        try:
            path, proof = _export_one(exporter, standard, context, folder)
        except ModuleNotFoundError as error:
            raise lacks_package(f"export.{name}", error) from error
        seconds = time.perf_counter() - start
        write_json(folder / "verification.json", proof.to_json())
        rows[name] = {"path": os.path.relpath(path, run), "seconds": round(seconds, 3), **proof.to_json()}
    return rows


def _export_one(
    exporter: Exporter, standard: Standard, context: ExportContext, folder: Path
) -> tuple[Path, Verification]:
    """Return an artifact's path, by which one can see whether it is good, and its proof."""
    try:
        path = exporter.export(standard.network, context, folder)
    except (NnrunError, ModuleNotFoundError):
        raise
    except CannotExport as error:
        return folder, Verification.unusable(exporter, 0, f"it cannot be exported: {error}")
    except Exception as error:
        # An exporter fails on networks that it cannot express, in as many ways as there are networks.
        reason = f"it cannot be exported: {type(error).__name__}: {_first(error)}"
        return folder, Verification.unusable(exporter, 0, reason)
    if not isinstance(path, Path) or not path.exists() or folder.resolve() not in path.resolve().parents:
        shown = f"{path}, which is no file or folder in {folder}" if isinstance(path, Path) else f"{path!r}, no path"
        return folder, Verification.unusable(exporter, 0, f"its exporter names {shown}")
    proof = verify(path, exporter, standard)
    if not path.exists():
        return folder, Verification.unusable(exporter, 0, f"{path} was gone when it was loaded")
    if not proof.ok:
        path = path.rename(path.with_name(path.name + REJECTED_SUFFIX))
    return path, proof


def _first(error: Exception) -> str:
    """Return the first lines of an exporter's error, without colours; the rest are pages."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n")[:3])[:300]

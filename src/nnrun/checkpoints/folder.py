"""Save and load checkpoints: atomic, verified, tensors and plain values only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.files import DurableFile, free_bytes, saving, sweep_temporaries, sync_folder
from nnrun.base.paths import inside
from nnrun.base.shown import counted
from nnrun.checkpoints.host_copy import canonical
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, Manifest, ManifestEntry, is_whole, read_manifest
from nnrun.checkpoints.payload import Payload, with_schema
from nnrun.checkpoints.stored_tensors import StoredTensor
from nnrun.checkpoints.tensors import dtype_name

DAMAGED_SUFFIX = ".damaged"
_NAME = re.compile(r"step-\d{8,}-[0-9a-f]{8}\.ckpt")


class Abandoned(Exception):
    """A save was abandoned before its end."""


class CheckpointFolder:
    """The `checkpoints` folder of one run, whose lock this process holds. The manifest is the commit point.

    A checkpoint appears under a name that states its step and its sha256; then the manifest lists it; only then are
    old ones removed, but never the best or the `keep_last` newest. When the folder is opened, leftovers of an earlier
    process are removed: temporary files, and checkpoints that the manifest does not list. Damaged ones are renamed.
    """

    def __init__(self, run: Path, keep_last: int) -> None:
        self.path = inside(run, FOLDER_NAME)
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._keep_last = keep_last
        self._is_abandoned = False
        has_manifest = (self.path / MANIFEST_NAME).is_file()
        manifest = read_manifest(self.path) if has_manifest else Manifest()
        with saving(self.path):
            # A damaged file must not count as one of the newest: it would push out an intact one.
            whole = tuple(row for row in manifest.files if self._is_whole(row))
            self._sweep({row.name for row in whole} if has_manifest and len(whole) == len(manifest.files) else None)
        names = {row.name for row in whole}
        self.manifest = Manifest(whole, *(name if name in names else None for name in (manifest.best, manifest.last)))

    def _sweep(self, named: set[str] | None) -> None:
        """Remove the leftovers of an interrupted save: temporary files, and checkpoints that are not `named`.

        If the manifest is missing, or lists damaged files, no checkpoint is removed (`named` is None): it may be the
        only one.
        """
        sweep_temporaries(self.path)
        if named is None:
            return
        for path in self.path.glob("step-*.ckpt"):
            if path.name not in named and _NAME.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)

    def _is_whole(self, row: ManifestEntry) -> bool:
        """Return whether a file is as it was saved; rename one that is not, so that it can be examined."""
        path = self.path / row.name
        if is_whole(self.path, row):
            return True
        if path.is_file():
            path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
        return False

    def check_room(self) -> None:
        """Raise ResourceError where the disk has no room for all checkpoints that are kept, if each is as large as one.

        This is a lower bound: the optimizer's state is added at its first step.
        """
        num_bytes = self.manifest.files[-1].bytes
        missing = self._keep_last + 2 - len(self.manifest.files)
        free = free_bytes(self.path)
        if free is not None and free < missing * num_bytes:
            raise ResourceError(
                f"{self.path} has room for {free:,} bytes, but the run needs at least {missing * num_bytes:,}: "
                f"{missing} checkpoints of {num_bytes:,}; free some space and continue with resume=, or choose "
                "another folder with hydra.run.dir="
            )

    @property
    def last(self) -> Path | None:
        """The newest checkpoint's path."""
        return self.path / self.manifest.last if self.manifest.last else None

    def save(self, payload: Payload, step: int, *, is_best: bool) -> Path:
        """Write a checkpoint, whose tensors are on the host, and commit it.

        Raises ResourceError where the disk refuses, with the old ones untouched.
        """
        num_bytes = sum(leaf.nbytes for leaf in tree_leaves(payload) if isinstance(leaf, Tensor))
        with saving(self.path / f"step-{step:08d}", num_bytes):
            with DurableFile(self.path, self._poll) as file:
                torch.save(canonical(with_schema(payload)), file)  # type: ignore[arg-type]
                entry = ManifestEntry(f"step-{step:08d}-{file.sha256[:8]}.ckpt", file.sha256, file.num_bytes, step)
                file.commit(entry.name)
            self._commit(entry, is_best=is_best)
        return self.path / entry.name

    def abandon(self) -> None:
        """Abandon a save that another thread is writing, and every later one."""
        self._is_abandoned = True

    def _poll(self) -> None:
        """Raise Abandoned after `abandon`: another process may own the folder by now."""
        if self._is_abandoned:
            raise Abandoned

    def _commit(self, entry: ManifestEntry, *, is_best: bool) -> None:
        """List the new file in the manifest, then remove files that are no longer kept."""
        files = [row for row in self.manifest.files if row.name != entry.name] + [entry]
        best = entry.name if is_best else self.manifest.best
        kept = {row.name for row in files[-self._keep_last :]} | {best}
        manifest = replace(
            self.manifest, files=tuple(row for row in files if row.name in kept), best=best, last=entry.name
        )
        with DurableFile(self.path, self._poll) as file:
            file.write(json.dumps(manifest.to_json(), indent=2).encode())
            file.commit(MANIFEST_NAME)
        self.manifest = manifest
        for row in files:
            if row.name not in kept:
                (self.path / row.name).unlink(missing_ok=True)
        sync_folder(self.path)


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights strictly; raise ArtifactError naming the first mismatches, or weights that are not finite."""
    check_names_and_shapes(network.state_dict(), weights, path)
    damaged = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise ArtifactError(f"{path} holds NaN or infinite weights: {', '.join(damaged[:5])}")
    network.load_state_dict(weights)


def check_names_and_shapes(
    wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor | StoredTensor], path: Path
) -> None:
    """Raise ArtifactError with the first mismatches unless weights, or their descriptions, fit a network."""
    problems = []
    if wanted and weights.keys().isdisjoint(wanted):
        problems.append(f"none of its names are the network's: it has {', '.join(list(weights)[:3])}")
    problems += [f"{name} is missing" for name in wanted if name not in weights]
    problems += [f"{name} is not in this network" for name in weights if name not in wanted]
    for name, tensor in wanted.items():
        given = weights.get(name)
        if given is not None and tuple(given.shape) != tuple(tensor.shape):
            problems.append(f"{name} is {tuple(given.shape)}, but the network needs {tuple(tensor.shape)}")
        elif given is not None and not _may_become(dtype_name(given), dtype_name(tensor)):
            problems.append(f"{name} is {dtype_name(given)}, but the network needs {dtype_name(tensor)}")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ArtifactError(
            f"{path} does not fit the network ({counted(len(problems), 'mismatch', 'mismatches')}): "
            f"{'; '.join(problems[:5])}{more}; set model= to the network that was trained"
        )


def _may_become(given: str, wanted: str) -> bool:
    """Return whether a dtype can be converted to another without changing the meaning of the numbers.

    Integers and complex numbers cannot become float weights.
    """
    if given.startswith("complex") or wanted.startswith("complex"):
        return given.startswith("complex") and wanted.startswith("complex")
    return "float" in given or "float" not in wanted

"""Save and load checkpoints: whole or not at all, verified, tensors and plain values only."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.errors import ArtifactError
from nnrun.files import DurableFile, saving, sweep_temporaries, sync_folder
from nnrun.manifest import FOLDER_NAME, MANIFEST_NAME, SCHEMA, Entry, Manifest, is_whole, read_manifest


class CheckpointFolder:
    """The `checkpoints` folder of one run, whose lock this process holds. The manifest is the commit point.

    A checkpoint appears under a name that states its step and its sha256; then the manifest names it; only then are
    old ones removed, and never the best or the `keep_last` newest.
    """

    def __init__(self, run: Path, keep_last: int) -> None:
        self.path = run / FOLDER_NAME
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            sweep_temporaries(self.path)
        self._keep_last = keep_last
        has_manifest = (self.path / MANIFEST_NAME).is_file()
        manifest = read_manifest(self.path) if has_manifest else Manifest()
        # A damaged file that a resume fell back from must not count as one of the newest, and push out a whole one.
        whole = tuple(row for row in manifest.files if is_whole(self.path, row))
        names = {row.name for row in whole}
        self.manifest = Manifest(whole, *(name if name in names else None for name in (manifest.best, manifest.last)))

    def save(self, payload: dict[str, Any], step: int, *, is_best: bool) -> Path:
        """Write a checkpoint and commit it; raise ResourceError where the disk refuses, with the old ones untouched."""
        with saving(self.path / f"step-{step:08d}"):
            with DurableFile(self.path) as file:
                torch.save(canonical({"schema": SCHEMA, **payload}), file)  # type: ignore[arg-type]
                entry = Entry(f"step-{step:08d}-{file.sha256[:8]}.ckpt", file.sha256, file.num_bytes, step)
                file.commit(entry.name)
            self._commit(entry, is_best=is_best)
        return self.path / entry.name

    def _commit(self, entry: Entry, *, is_best: bool) -> None:
        """Name the new file in the manifest, then remove what the rules no longer keep."""
        files = [row for row in self.manifest.files if row.name != entry.name] + [entry]
        best = entry.name if is_best else self.manifest.best
        kept = {row.name for row in files[-self._keep_last :]} | {best}
        manifest = replace(
            self.manifest, files=tuple(row for row in files if row.name in kept), best=best, last=entry.name
        )
        with DurableFile(self.path) as file:
            file.write(json.dumps(manifest.to_json(), indent=2).encode())
            file.commit(MANIFEST_NAME)
        self.manifest = manifest
        for row in files:
            if row.name not in kept:
                (self.path / row.name).unlink(missing_ok=True)
        sync_folder(self.path)


def canonical(value: Any) -> Any:
    """Return equal values as equal bytes when pickled.

    A pickle also tells which texts and lists are one object: a resumed run would differ in that from one that was
    never stopped, and its checkpoints in their names.
    """
    if isinstance(value, dict):
        return {canonical(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(canonical(item) for item in value)
    return sys.intern(value) if isinstance(value, str) else value


def load_payload(path: Path) -> dict[str, Any]:
    """Return what a verified checkpoint holds, on the host; raise ArtifactError where torch cannot read it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damage shows as OSError, EOFError, KeyError, UnpicklingError and others, most without a text.
        raise ArtifactError(f"{path} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights strictly; raise ArtifactError naming the first mismatches, or a weight that is not a number."""
    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in weights]
    problems += [f"{name} is not in this network" for name in weights if name not in wanted]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, and the network wants {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ArtifactError(
            f"{path} does not fit the network ({len(problems)} mismatches): "
            f"{'; '.join(problems[:5])}{more}; name the model that it was trained as"
        )
    damaged = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise ArtifactError(f"{path} holds NaN or infinite weights: {', '.join(damaged[:5])}")
    network.load_state_dict(weights)

"""What the weights that a run starts from, or looks at, have seen of its data."""

from __future__ import annotations

from pathlib import Path

from nnrun.assembly.data.opened import Opened, noted
from nnrun.assembly.data.seen import known_among, seen_in
from nnrun.assembly.job import Job
from nnrun.base.paths import expanded
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import holds_weights_alone, peek
from nnrun.checkpoints.tensors import read_tensors


def note_on_data(job: Job, data: Opened) -> str | None:
    """Return what is said where data that is looked at, and not measured, is not that of the run of `ckpt=`."""
    source = job.composed.source
    if source is None or source.key != "ckpt" or source.config is None or source.card is not None:
        return None
    path = source.checkpoint.path
    is_the_run_s = peek(path)["data_fingerprint"] == data.fingerprint
    return None if is_the_run_s else f"the data is not that of {path}: its fingerprint differs"


def beside_its_start(job: Job, data: Opened) -> Opened:
    """Return a new run's data, with what is said where the weights that it starts from have seen what it holds out."""
    source, weights = job.composed.source, job.settings.transfer.weights
    path: Path | None = None
    if source is not None and source.key == "init_from":
        path = source.checkpoint.path
    elif weights is not None and weights != "default":
        path = locate(expanded(weights), "best").path
    if path is None or holds_weights_alone(path):
        return data
    saved = peek(path)
    if "seen" not in saved:
        text = f"an earlier version wrote {path}: whether it was trained on samples that are held out here is not known"
        return noted(data, text) if data.test_is_drawn or data.valid_is_drawn else data
    seen = seen_in(read_tensors(path, saved["seen"]), path)
    for name, parts in (("test", list(seen.values())), ("valid", [seen["train"]])):
        split = data.parts.get(name)
        count = int(known_among(split, parts).sum()) if split is not None else 0
        if count and split is not None:
            some = f"{count:,}" if all(part.is_complete for part in parts) else f"at least {count:,}"
            text = f"{some} of {len(split):,} {name} samples are among those that {path} was trained on"
            data = noted(data, f"{text}: scores of the {name} part are inflated")
    return data

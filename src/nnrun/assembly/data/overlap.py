"""Which samples of its data the weights that a run starts from, or inspects, have seen."""

from __future__ import annotations

from nnrun.assembly.data.opened import Opened, noted
from nnrun.assembly.data.seen import known_among, seen_by
from nnrun.assembly.job import Job
from nnrun.checkpoints.saved_run import SavedRun


def note_on_data(job: Job, data: Opened) -> str | None:
    """Return a note if data that is inspected, not evaluated, is not that of the run that `ckpt=` names."""
    saved = job.composed.evaluated
    if not isinstance(saved, SavedRun) or saved.data_fingerprint == data.fingerprint:
        return None
    is_said = "unrecognizable" in data.findings.facts
    return f"the data is not that of {saved.path}" + ("" if is_said else f": {how_it_differs(saved, data)}")


def how_it_differs(saved: SavedRun, data: Opened) -> str:
    """Return what is known of how data that is not that of a run differs from it."""
    difference_from = getattr(data.preprocessing, "difference_from", None)
    told = data.findings.facts.get("unrecognizable") or (difference_from and difference_from(saved.preprocessing))
    return str(told or "its fingerprint differs")


def is_read_otherwise(saved: SavedRun, job: Job) -> bool:
    """Return whether a run identified large JPEGs in another way than this job does."""
    return bool(saved.config["data"].get("jpeg_draft")) != job.data.jpeg_draft


def beside_its_start(job: Job, data: Opened) -> Opened:
    """Return a new run's data, with a note if the weights that it starts from have seen its held-out samples."""
    saved = job.composed.start or job.pretrained
    if not isinstance(saved, SavedRun):
        return data
    if data.findings.facts.get("large_jpegs") and is_read_otherwise(saved, job):
        before = str(bool(saved.config["data"].get("jpeg_draft"))).lower()
        unknown = "it is unknown whether it was trained on samples that are held out here"
        return noted(data, f"{saved.path} read large JPEGs with data.jpeg_draft={before}: {unknown}")
    seen = seen_by(saved)
    if seen is None:
        unknown = "it is unknown whether it was trained on samples that are held out here"
        text = f"{saved.path} was written by an earlier version: {unknown}"
        return noted(data, text) if data.test_is_drawn or data.valid_is_drawn else data
    for name, parts in (("test", list(seen.values())), ("valid", [seen["train"]])):
        split = data.parts.get(name)
        count = int(known_among(split, parts).sum()) if split is not None else 0
        if count and split is not None:
            some = f"{count:,}" if all(part.is_complete for part in parts) else f"at least {count:,}"
            text = f"{some} of {len(split):,} {name} samples are among those that {saved.path} was trained on"
            data = noted(data, f"{text}: {name} scores are inflated")
    return data

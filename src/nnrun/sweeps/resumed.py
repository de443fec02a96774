"""Read the record of a sweep that ended early, for `nnrun -m resume=SWEEP_DIR`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.files import read_json
from nnrun.base.paths import abbreviated, expanded, is_there, why_out_of_reach
from nnrun.base.secrets import SHOWN, redact_word
from nnrun.config.folders import OF_A_SWEEP
from nnrun.config.overrides import parse_all
from nnrun.sweeps.ranking import Yardstick
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import JSON_NAME, SCHEMA, JobResult

# Settings that a resumed sweep may change: they do not change what its jobs are.
FREE = (
    *("sweep.parallel", "sweep.fail_fast", "sweep.trials", "sweep.minutes", "sweep.top"),
    *("sweep.job_minutes", "sweep.jobs_per_device"),
)
# Classes that a word of the record may name: nnrun's own, and those whose options nnrun ships. The folder of a sweep
# may be somebody else's, and another class is code that runs.
_KNOWN_CLASSES = ("nnrun.", "torch.optim.", "torchvision.models.")
_JOB_KEYS = {
    "number": int,
    "overrides": dict,
    "directory": str,
    "state": str,
    "seconds": int | float,
    "metrics": dict,
    "words": list,
    "point": int,
    "yardstick": dict,
}


@dataclass(frozen=True)
class Past:
    """The record of a sweep: its folder, words, settings, jobs by number, and what its search was asked and told.

    `seconds` is how long it ran in all.
    """

    folder: Path
    words: Sequence[str]
    settings: Mapping[str, Any]
    rows: Sequence[JobResult]
    told: Sequence[Any]
    state: str
    seconds: float


def read_past(path: Path) -> Past:
    """Return the record in the folder of a sweep.

    Raises ConfigError where there is none, ArtifactError where it is damaged.
    """
    if reason := why_out_of_reach(path):
        raise ConfigError(f"resume={abbreviated(path)}: {reason}")
    if not is_there(path):
        raise ConfigError(f"resume={path} does not exist; name the folder of a sweep, which has a {JSON_NAME}")
    if not (path / JSON_NAME).is_file():
        single = (path / "status.json").is_file()
        hint = f"it is a run, which is resumed without -m: nnrun resume={path}" if single else "name one that has"
        raise ConfigError(f"resume={path} is not the folder of a sweep: it has no {JSON_NAME}; {hint}")
    try:
        record = read_json(path / JSON_NAME)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path / JSON_NAME} cannot be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("jobs"), list):
        raise ArtifactError(f"{path / JSON_NAME} is not the record of a sweep")
    if not isinstance(record.get("words"), list):
        raise ConfigError(f"resume={path}: this sweep was run by a version of nnrun before 0.7.0; start it again")
    if record.get("schema", 0) > SCHEMA:
        raise ArtifactError(f"{path / JSON_NAME} was written by a newer nnrun (schema {record['schema']})")
    try:
        rows = sorted((_row(job, path) for job in record["jobs"]), key=lambda row: row.number)
    except (TypeError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path / JSON_NAME} is damaged: {error}") from error
    words, told, settings = list(map(str, record["words"])), record.get("told") or [], record.get("settings")
    state, seconds = str(record.get("state")), record.get("seconds")
    seconds = float(seconds) if isinstance(seconds, int | float) else 0.0
    return Past(path, words, settings if isinstance(settings, dict) else {}, rows, told, state, seconds)


def _row(job: Any, folder: Path) -> JobResult:
    """Return a job of the record; raise ValueError, KeyError or TypeError if it is malformed."""
    for key, kind in _JOB_KEYS.items():
        if not isinstance(job[key], kind):
            raise ValueError(f"a job has the {key} {job[key]!r}")
    name = Path(job["directory"]).name
    if name == ".." or "\0" in name:
        raise ValueError(f"a job has the directory {job['directory']!r}")
    known = {item.name for item in fields(JobResult)}
    row = JobResult(**{key: value for key, value in job.items() if key in known})
    marks = {item.name for item in fields(Yardstick)}
    yardstick = Yardstick(**{key: value for key, value in job["yardstick"].items() if key in marks})
    return replace(
        row,
        state=JobState(job["state"]),
        # The folder may have moved since.
        directory=str(folder / name) if name else "",
        yardstick=yardstick,
    )


def resumed_folder(words: Sequence[str]) -> Path | None:
    """Return the folder that `resume=` names beside -m; None without the word, or with null.

    Raises ConfigError where other words sweep: the sweep goes on as it was.
    """
    typed, _ = parse_all(words)
    named = next((item for item in typed if item.key == "resume" and item.value is not None), None)
    if named is None:
        return None
    if others := [redact_word(item.word) for item in typed if item.is_sweep]:
        raise ConfigError(f"resume= continues a single run, or with -m a sweep as it was: leave out {' '.join(others)}")
    return expanded(str(named.value))


def words_again(past: Past, words: Sequence[str]) -> list[str]:
    """Return the words of a sweep: those of its record, and `words`, given beside `resume=`.

    These may change settings in FREE, and give again what the record does not hold or may not ask for: secrets, and
    classes that are not nnrun's. Raises ConfigError with all that is wrong.
    """
    given = {word.partition("=")[0].lstrip("+"): word for word in words if not word.startswith("resume=")}
    found, problems = [], []
    for word in past.words:
        key = word.partition("=")[0].lstrip("+")
        again = given.pop(key, None)
        if again is not None and not _is_free(key) and redact_word(again) != word:
            problems.append(Complaint(key, f"{redact_word(again)!r} cannot change in a resumed sweep; it was {word!r}"))
        if again is None and (why := _why_again(word)):
            problems.append(Complaint(key, f"{word!r} {why}: give it again"))
        found.append(again or word)
    problems += _beside(given, past)
    if problems:
        raise ConfigError(*problems)
    return [*found, *given.values()]


def _is_free(key: str) -> bool:
    return key in FREE or key.partition(".")[0] == "launch"


def _why_again(word: str) -> str | None:
    """Return why a word of the record must be typed again, if it must."""
    key, _, value = word.partition("=")
    if SHOWN in value:
        return "has a secret, which the record of a sweep does not hold"
    if key == "trust" or (key.endswith("_target_") and not value.startswith(_KNOWN_CLASSES)):
        return "names code to run, which the record of a sweep does not decide"
    return None


def _beside(given: Mapping[str, str], past: Past) -> Iterator[Complaint]:
    """Complain of words that were not in the sweep and would change its jobs."""
    for key, word in given.items():
        if not _is_free(key) and not key.startswith(tuple(f"{group}." for group in OF_A_SWEEP[1:])):
            text = f"{redact_word(word)!r} would change the jobs of {past.folder}; start a new sweep, or leave it out"
            yield Complaint(key, text)


def check_settings(past: Past, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError where the settings of a sweep, in a YAML file perhaps, are not what they were."""
    before, now = past.settings.get("sweep") or {}, settings["sweep"]
    changed = [
        f"sweep.{key}: {before[key]!r} -> {value!r}"
        for key, value in now.items()
        if key in before and before[key] != value and not _is_free(f"sweep.{key}")
    ]
    if changed:
        raise ConfigError(f"these settings of {past.folder} cannot change; start a new sweep:", *changed)

"""The jobs of a sweep before they run: their words, and their configs, composed and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError, NnrunError
from nnrun.base.secrets import SHOWN, hide_known, redact, redact_word, secrets_in_words
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.monitor import monitored
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.runs.directory import plain_name
from nnrun.sweeps.ranking import Yardstick
from nnrun.sweeps.repeats import TEST
from nnrun.sweeps.seams import Decision, JobState
from nnrun.sweeps.table import JobResult

# The settings, by their section, that sweeps before 0.8.0 did not have in the hashes of their configs.
_LATER: Mapping[str, Sequence[str]] = {
    "": ("tokenizer",),
    "data": ("columns", "drop", "group", "image", "max_length", "text", "time"),
    "data.dataset": ("group", "image", "time"),
    "model": ("facts",),
    "trainer": ("recompute",),
    "tokenizer": ("padding",),
}
# Settings of several processes, which no job has: their defaults are in no hash, as before there were any.
_OF_SEVERAL: Mapping[str, Any] = {"devices": 1, "strategy": "auto", "sync_batchnorm": False, "max_restarts": 0}


@dataclass
class Job:
    """A job: its row in the table, its words with their secrets, and its config, until it has ended."""

    row: JobResult
    words: Sequence[str]
    composed: Composed | None = None
    # What it was told last.
    decision: Decision = Decision.GO_ON
    # Whether it resumes what is in its directory.
    resumes: bool = False

    @property
    def folder_name(self) -> str:
        """The name of its directory: its number, and the swept settings."""
        name = "_".join(f"{key}-{value}" for key, value in self.row.overrides.items())
        return f"{self.row.number}_{plain_name(name)}"


@dataclass(frozen=True)
class Workshop:
    """What the jobs of a sweep are made from: the words that they share, and the rules for their configs."""

    # The words of the command line, without those of the sweep itself.
    typed: Sequence[Typed]
    swept: Sequence[str]
    own: Sequence[Path]
    rules: Rules = field(repr=False)
    # What the jobs of a point differ in; and what all have beside their words, such as trainer.test=false.
    repeats: Sequence[Mapping[str, str]] = ({},)
    fixed: Mapping[str, str] = field(default_factory=dict)

    def words_with(self, chosen: Mapping[str, str]) -> list[str]:
        """Return the words of a job: each chosen value in place of its swept word, or at the end."""
        rest = {**chosen, **self.fixed}
        words: dict[str, str] = {}
        for number, item in enumerate(self.typed):
            if item.key in rest:
                words[item.key] = f"{item.key}={rest[item.key]}"
            elif not item.is_sweep:  # a search leaves out what only another option has
                words[f"{item.key} {number}"] = item.word
        return [*words.values(), *(f"{key}={value}" for key, value in rest.items() if key not in words)]

    def job(self, number: int, point: int, chosen: Mapping[str, str]) -> Job:
        """Return a job with its config composed and checked; its row says what is wrong with it, if anything is."""
        words = self.words_with(chosen)
        hidden = {key: redact_word(f"{key}={value}").partition("=")[2] for key, value in chosen.items()}
        row = JobResult(number, hidden, "", None, JobState.WAITING, words=list(map(redact_word, words)), point=point)
        job = Job(row, words)
        self.compose(job)
        return job

    def jobs(self, number: int, point: int, chosen: Mapping[str, str]) -> list[Job]:
        """Return the jobs of a point, numbered from `number` on."""
        return [self.job(number + i, point, {**chosen, **repeat}) for i, repeat in enumerate(self.repeats)]

    @property
    def repeated(self) -> list[str]:
        """The keys that the jobs of a point differ in."""
        return list(self.repeats[0])

    def again(self, row: JobResult) -> Job:
        """Return a job of a sweep that is resumed; raise ConfigError if its config is not what it was.

        A job that has begun resumes what is in its directory.
        """
        if hidden := [key for key, value in row.overrides.items() if SHOWN in value]:
            raise ConfigError(f"job {row.number} has a secret in {', '.join(hidden)}, which the record does not hold")
        job, before = Job(row, self.words_with(row.overrides), resumes=bool(row.directory)), row.config
        self.compose(job)
        # What an earlier version recorded did not have the settings that came later.
        befores = {row.config} if job.composed is None else {row.config, hash_of(job.composed, without_later=True)}
        if before not in befores or row.state == JobState.FAILED:
            why = f" ({row.reason})" if row.state == JobState.FAILED else ""
            raise ConfigError(
                f"job {row.number} would not have the config that it had when the sweep began{why}: a YAML file, an "
                "environment variable or nnrun itself has changed; put it back, or start a new sweep"
            )
        return job

    def tested(self, row: JobResult) -> Job:
        """Return a job that is finished without its test, to be tested and exported in its own directory."""
        words = replace(self, fixed={**self.fixed, TEST: "true"}).words_with(row.overrides)
        return Job(row, words, compose_config(words, self.own, self.rules), resumes=True)

    def alone(self, row: JobResult, words: Sequence[str]) -> Job:
        """Return a job that was trained together with others, to be trained again by itself; `words` are its own."""
        return Job(row, words, compose_config(words, self.own, self.rules))

    def compose(self, job: Job) -> None:
        """Compose and check the config of a job; record its hash, and how the job is measured, or what is wrong."""
        try:
            composed = compose_config(job.words, self.own, self.rules)
            job.row.yardstick = without(Yardstick.of(redact(composed.resolved())), self.repeated)
            job.row.monitor, job.row.mode = monitored(composed.resolved(), self.rules.known.metrics)
            job.row.config = hash_of(composed)
        except NnrunError as error:
            messages = [hide_known(message, secrets_in_words(job.words)) for message in error.messages]
            job.row.state, job.row.exit_code = JobState.FAILED, error.exit_code
            job.row.reason = "\n".join(messages)
            return
        # A checkpoint that is named stays open with its config: such a job is composed again where it runs.
        job.composed = composed if composed.source is None else None


def without(yardstick: Yardstick, repeated: Sequence[str]) -> Yardstick:
    """Return how a job is measured, but for what the jobs of its point differ in: the mean counts."""
    return replace(yardstick, samples={key: it for key, it in yardstick.samples.items() if key not in repeated})


def hash_of(composed: Composed, *, without_later: bool = False) -> str:
    """Return a hash of a config without its secrets: the same for the same settings.

    Optionally as before `_LATER`, of which those that are null or false are left out: they mean what their absence did.
    """
    tree = redact(composed.shown(), known=composed.secrets)
    for section, names in _LATER.items() if without_later else ():
        part = reduce(lambda at, name: at.get(name) or {}, filter(None, section.split(".")), tree)
        for name in names:
            if part.get(name) in (None, False, f"${{data.{name}}}"):
                part.pop(name, None)
    trainer = tree.get("trainer") or {}
    for name, default in _OF_SEVERAL.items():
        if trainer.get(name) == default:
            trainer.pop(name)
    shown = json.dumps(tree, sort_keys=True, default=str)
    return hashlib.sha256(shown.encode(errors="backslashreplace")).hexdigest()

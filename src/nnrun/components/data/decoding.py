"""Decoding many samples at once: by processes, in their order, into a file, with what each turned out to be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.host import num_cores
from nnrun.components.data.cache import Cache, Entry
from nnrun.components.data.image_form import Form, Wanted, form_of
from nnrun.components.data.images import ImageKind, Picture, decode_sample, read_kind
from nnrun.components.data.progress import with_progress
from nnrun.components.data.sample_stats import Measures
from nnrun.components.data.tally import Tally
from nnrun.core.sample_hashes import as_tensor
from nnrun.core.workers.crew import Crew, in_order

# Samples that a process decodes at a time: enough to make handing them over cheap, few enough for a smooth bar.
CHUNK_SAMPLES = 64
# For fewer, starting processes takes longer than it saves.
SAMPLES_FOR_PROCESSES = 1000
# How many headers are read to guess the size that most images have; the guess is checked against all of them.
NUM_SAMPLED = 50
# How many that cannot be read an error names; the rest are counted.
NUM_NAMED = 5


class Readable(Protocol):
    """Samples that can be read one by one; each raises DataError where it is bad.

    `in_processes` says whether other processes may read them too.
    """

    in_processes: bool

    def __len__(self) -> int: ...

    def kind(self, index: int) -> ImageKind:
        """Return what a sample's image is, at as little cost as can be."""
        ...

    def read(self, index: int, form: Form) -> tuple[Picture, Any]:
        """Return a sample's image with its values in a form, and its label, or None where it is known already."""
        ...


class Files:
    """Image files, whose folders say their labels."""

    in_processes = True

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def kind(self, index: int) -> ImageKind:
        """Read a file's header."""
        return read_kind(self._paths[index])

    def read(self, index: int, form: Form) -> tuple[Picture, None]:
        """Decode a file."""
        return decode_sample(self._paths[index], form.channels, (form.height, form.width), form.white), None


@dataclass(frozen=True)
class Chunk:
    """Some samples, decoded: their values `(n, C, H, W)`, what they were, and those that could not be read, and why."""

    values: Tensor
    measures: Measures
    kinds: list[ImageKind]
    labels: list[Any]
    failures: dict[int, str]


@dataclass(frozen=True)
class _DecodeChunk:
    """Decode the samples of a chunk, by its number."""

    samples: Readable
    form: Form

    def __call__(self, number: int) -> Chunk:
        first = number * CHUNK_SAMPLES
        read: list[tuple[Picture, Any]] = []
        failures: dict[int, str] = {}
        for index in range(first, min(first + CHUNK_SAMPLES, len(self.samples))):
            try:
                read.append(self.samples.read(index, self.form))
            except DataError as error:
                failures[index] = error.messages[0]
        form = self.form
        empty = torch.empty((0, form.channels, form.height, form.width), dtype=form.dtype)
        values = torch.stack([picture.pixels for picture, _ in read]) if read else empty
        measures = Measures.of(values, as_tensor(b"".join(picture.original for picture, _ in read)))
        return Chunk(values, measures, [picture.kind for picture, _ in read], [label for _, label in read], failures)


class Store(Protocol):
    """Where decoded samples go: the cache, or memory."""

    def write(self, chunks: Iterable[tuple[Tensor, Measures]], num_bytes: int, found: dict[str, Any]) -> Entry:
        """Store samples as they come, with what is found on the way."""
        ...


@dataclass
class _Decoding:
    """One pass over all samples in one form."""

    samples: Readable
    form: Form
    wanted: Wanted
    kinds: Counter[ImageKind] = field(default_factory=Counter)
    labels: list[Any] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tally = Tally(self.form.white)

    def chunks(self) -> Generator[tuple[Tensor, Measures], None, None]:
        """Yield the samples in order; at the end raise what is wrong with them, or with the form that was guessed."""
        pays = self.samples.in_processes and len(self.samples) >= SAMPLES_FOR_PROCESSES
        crew = Crew(num_cores() if pays else 0, "decodes the data", "close programs, or set a smaller data.image_size")
        numbers = range(math.ceil(len(self.samples) / CHUNK_SAMPLES))
        with closing(in_order(_DecodeChunk(self.samples, self.form), numbers, crew)) as chunks:
            for chunk in with_progress(
                "decoding", chunks, len(self.samples), lambda chunk: len(chunk.kinds) + len(chunk.failures)
            ):
                self.kinds.update(chunk.kinds)
                self.tally.add(chunk.kinds)
                self.labels += chunk.labels
                self.failures |= chunk.failures
                yield chunk.values, chunk.measures
        if self.failures and (self.wanted.on_bad == "error" or not self.kinds):
            raise _unreadable(self.failures, len(self.samples))
        true = form_of(self.kinds, self.wanted)
        if true is not None and true != self.form:
            raise _AnotherForm(true)
        self.found |= {
            "skipped": [[index, message] for index, message in self.failures.items()],
            "kinds": [[kind.height, kind.width, kind.mode, number] for kind, number in self.kinds.items()],
            "tally": self.tally.to_plain(),
            "labels": self.labels if any(label is not None for label in self.labels) else None,
        }


class _AnotherForm(Exception):
    """Most samples ask for another form than the few that were looked at first."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form


def decoded(cache: Cache, samples: Callable[[], Readable], wanted: Wanted) -> Entry:
    """Return the entry of a cache; where it has none, decode the samples for it, which are opened only then."""
    entry = cache.read()
    if entry is None:
        with cache.alone():
            entry = cache.read() or decode_into(cache, samples(), wanted)
    return entry


def decode_into(store: Store, samples: Readable, wanted: Wanted) -> Entry:
    """Decode all samples into a store; raise DataError with those that cannot be read, unless they are left out."""
    form = _guess(samples, wanted)
    for _ in range(2):
        decoding = _Decoding(samples, form, wanted)
        try:
            # Closed however it ends, a full disk included: nobody goes on decoding.
            with closing(decoding.chunks()) as chunks:
                return store.write(chunks, form.num_bytes * len(samples), decoding.found)
        except _AnotherForm as another:
            form = another.form
    raise AssertionError("the form of all samples is that of all samples")


def _unreadable(failures: Mapping[int, str], total: int) -> DataError:
    """Return the error that names the samples that could not be read, and the way on."""
    rest = len(failures) - NUM_NAMED
    more = [f"and {rest:,} more"] if rest > 0 else []
    way = f"{len(failures):,} of {total:,} cannot be read; data.on_bad=skip leaves them out"
    return DataError(*list(failures.values())[:NUM_NAMED], *more, way)


def _guess(samples: Readable, wanted: Wanted) -> Form:
    """Return the form that some of the samples, evenly spread, ask for, where the settings leave it open."""
    kinds: Counter[ImageKind] = Counter()
    for index in range(0, len(samples), max(1, len(samples) // NUM_SAMPLED)):
        try:
            kinds[samples.kind(index)] += 1
        except DataError:
            continue  # all are looked at later
    return form_of(kinds, wanted) or Form(wanted.channels or 3, *(wanted.size or (1, 1)))

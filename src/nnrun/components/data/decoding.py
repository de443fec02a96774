"""Decode many samples in parallel, in order, into a store, and record the kind of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.host import num_cores
from nnrun.base.meter import meter
from nnrun.base.threads import in_threads
from nnrun.components.data.cache import Cache, Entry
from nnrun.components.data.image_form import AUTO, Form, Wanted, form_of, is_middle
from nnrun.components.data.images import ImageKind
from nnrun.components.data.readable import Readable
from nnrun.components.data.sample_stats import Measures
from nnrun.components.data.tally import Tally
from nnrun.core.sample_hashes import as_tensor
from nnrun.core.workers.crew import Crew, in_order

# Samples that a process decodes at a time: enough for cheap transfers, few enough for smooth progress; fewer if large,
# since several chunks are in memory at once.
CHUNK_SAMPLES = 64
CHUNK_BYTES = 2**24
# Below this, starting processes takes longer than it saves.
SAMPLES_FOR_PROCESSES = 1000
# Number of headers read to guess the most common size; the guess is checked against all images.
NUM_SAMPLED = 50
# Maximum number of unreadable samples that an error names; the others are counted.
NUM_NAMED = 5


@dataclass(frozen=True)
class Chunk:
    """Decoded samples: their values `(n, C, H, W)`, kinds and labels, and the errors of unreadable ones by index."""

    values: Tensor
    measures: Measures
    kinds: list[ImageKind]
    labels: list[Any]
    failures: dict[int, str]


@dataclass(frozen=True)
class _DecodeChunk:
    """Decode the samples of a chunk, given its number."""

    samples: Readable
    form: Form
    size: int

    def __call__(self, number: int) -> Chunk:
        first, form = number * self.size, self.form
        indices = range(first, min(first + self.size, len(self.samples)))
        values = torch.empty((len(indices), form.channels, form.height, form.width), dtype=form.dtype)
        kinds: list[ImageKind] = []
        labels: list[Any] = []
        originals: list[bytes] = []
        failures: dict[int, str] = {}
        for index in indices:
            try:
                picture, label = self.samples.read(index, form)
            except DataError as error:
                failures[index] = error.messages[0]
                continue
            values[len(kinds)] = picture.pixels
            kinds.append(picture.kind)
            labels.append(label)
            originals.append(picture.original)
        values = values[: len(kinds)]
        return Chunk(values, Measures.of(values, as_tensor(b"".join(originals))), kinds, labels, failures)


class Store(Protocol):
    """The destination of decoded samples: the cache, or memory."""

    def write(self, chunks: Iterable[tuple[Tensor, Measures]], num_bytes: int, found: dict[str, Any]) -> Entry:
        """Store samples as they come, with `found`, which is filled meanwhile."""
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
        self.tally = Tally(self.form.conversion.white)

    def chunks(self) -> Generator[tuple[Tensor, Measures], None, None]:
        """Yield the samples in order; at the end raise DataError for bad ones, _AnotherForm for a wrong guess."""
        with closing(self._decoded()) as chunks, meter("decoding", len(self.samples)) as advance:
            for chunk in chunks:
                self.kinds.update(chunk.kinds)
                self.tally.add(chunk.kinds)
                self.labels += chunk.labels
                self.failures |= chunk.failures
                yield chunk.values, chunk.measures
                advance(len(chunk.kinds) + len(chunk.failures))
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
            "resize": self.form.conversion.resize,
            "large_jpegs": sum(number for kind, number in self.kinds.items() if kind.is_large_jpeg),
            # Whether the images decided the size, and whether it is saved with the run.
            "size": None if self.wanted.size is not None else "auto" if self.wanted.image_size == AUTO else "common",
        }

    def _decoded(self) -> Generator[Chunk, None, None]:
        """Yield the samples in chunks, decoded by processes if they are many, by threads if they are large."""
        total, pays = len(self.samples), self.samples.in_processes and len(self.samples) >= SAMPLES_FOR_PROCESSES
        threads = num_cores() if self.samples.in_processes and not pays and self.samples.in_threads else 1
        size = max(1, min(CHUNK_SAMPLES, CHUNK_BYTES // self.form.num_bytes, total // (4 * threads)))
        decode, numbers = _DecodeChunk(self.samples, self.form, size), range(math.ceil(total / size))
        if threads > 1:
            return in_threads(decode, numbers, threads)
        crew = Crew(num_cores() if pays else 0, "decodes the data", "close programs, or set a smaller data.image_size")
        return in_order(decode, numbers, crew)


class _AnotherForm(Exception):
    """The samples need another form than the one guessed from a few of them."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form


def decoded(cache: Cache, samples: Callable[[], Readable], wanted: Wanted) -> Entry:
    """Return the entry of a cache; if it has none, open the samples and decode them into it."""
    entry = cache.read()
    if entry is None:
        with cache.alone():
            entry = cache.read() or decode_into(cache, samples(), wanted)
    return entry


def decode_into(store: Store, samples: Readable, wanted: Wanted) -> Entry:
    """Decode all samples into a store; raise DataError with the unreadable ones, unless they are skipped."""
    form = _guess(samples, wanted)
    for _ in range(2):
        decoding = _Decoding(samples, form, wanted)
        try:
            # Closed however it ends, even on a full disk, so that decoding stops.
            with closing(decoding.chunks()) as chunks:
                return store.write(chunks, form.num_bytes * len(samples), decoding.found)
        except _AnotherForm as another:
            form = another.form
    raise AssertionError("the form of all samples is final")


def _unreadable(failures: Mapping[int, str], total: int) -> DataError:
    """Return the error that names unreadable samples and says what to do."""
    rest = len(failures) - NUM_NAMED
    more = [f"and {rest:,} more"] if rest > 0 else []
    way = f"{len(failures):,} of {total:,} samples cannot be read; skip them with data.on_bad=skip"
    return DataError(*list(failures.values())[:NUM_NAMED], *more, way)


def _guess(samples: Readable, wanted: Wanted) -> Form:
    """Return the form guessed from a few evenly spread samples, where the settings leave it open.

    If the size is the median of different ones, all samples are examined.
    """
    kinds = _kinds(samples, max(1, len(samples) // NUM_SAMPLED))
    if is_middle(kinds, wanted) and len(samples) > NUM_SAMPLED:
        kinds = _kinds(samples, 1)
    return form_of(kinds, wanted) or Form(wanted.channels or 3, *(wanted.size or (1, 1)))


def _kinds(samples: Readable, every: int) -> Counter[ImageKind]:
    """Return the kinds of every `every`-th sample."""
    kinds: Counter[ImageKind] = Counter()
    for index in range(0, len(samples), every):
        try:
            kinds[samples.kind(index)] += 1
        except DataError:
            continue  # reported when all are read
    return kinds

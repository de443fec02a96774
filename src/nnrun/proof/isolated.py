"""An artifact in a separate process, which has neither the model's class nor nnrun.

The process runs a script, given by its path, in Python's isolated mode and in a new empty folder. It communicates over
its standard input and output: a line of JSON, then the bytes of arrays. When this process ends, however it ends, the
other notices it and ends as well. An untrusted artifact has limits: it is killed if it takes more time, it cannot
allocate more memory, and no answer is read that is larger than the one asked for.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import CONTROL, ArtifactError, ResourceError
from nnrun.base.signals import in_force
from nnrun.core.seams.data import Tree
from nnrun.core.texts import Texts
from nnrun.core.trees import form_of, named_leaves, num_samples
from nnrun.proof.forked import ForkedProcess, forked

# The script that runs an artifact in a separate process.
RUNNER = Path(__file__).parent / "runner.py"
_SHOWN_ERROR = 300
# The type of a tensor of texts, as runner.py knows it.
TEXT = "text"
# What reads an artifact of a format, if it is not torch.
_READERS = {"onnx": " by ONNX Runtime"}
# By default glibc reserves 128 MiB for each thread that allocates memory, which counts against a limit.
_FRUGAL = {"MALLOC_ARENA_MAX": "2"}
# After this time without a word, a forked process is given up for one that imports its packages itself.
_LONG_SECONDS = 60.0
# Maximum size of an artifact's description, a line of JSON.
_MAX_HEADER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Limits:
    """Limits on the memory and time of an untrusted artifact.

    Memory is that of its process without the libraries: `least_bytes`, and `bytes_per_number` for each number of a
    batch, but never more than `most_bytes`. macOS does not enforce it.
    """

    least_bytes: int
    bytes_per_number: int
    most_bytes: int
    load_seconds: float
    call_seconds: float
    seconds_per_sample: float

    def bytes_for(self, num_numbers: int) -> int:
        """Return how much memory a batch of `num_numbers` numbers may use."""
        return min(self.least_bytes + self.bytes_per_number * num_numbers, self.most_bytes)

    def seconds_for(self, num_samples: int) -> float:
        """Return how long a batch may take."""
        return self.call_seconds + self.seconds_per_sample * num_samples


class WrongShape(RuntimeError):
    """An artifact returned something other than a row of outputs for each sample; the message is the shape."""


class Isolated:
    """Run an artifact with the script of its format, in a process that lives until `close`.

    A call takes a batch and returns scores in fp32. `seconds` is how long the last call took in the process, without
    the transfer; `metadata` is the artifact's own, `signature` the name, type and shape of its inputs and outputs, if
    its format has that. With `content` the process receives these bytes of the artifact, and nothing is read from the
    path; that is required with `limits`.

    Raises ArtifactError if the artifact cannot be loaded, ResourceError if the process cannot start,
    ModuleNotFoundError if a package is missing, and RuntimeError if the artifact cannot be run.
    """

    def __init__(
        self, script: Path, format_name: str, path: Path, limits: Limits | None = None, content: bytes | None = None
    ) -> None:
        assert (limits is None) == (content is None), "limits are for bytes that are handed over"
        self.seconds = 0.0
        self._limits = limits
        self._late: str | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._scratch = tempfile.TemporaryDirectory(prefix="nnrun-")
        source = "-" if content is not None else str(path.absolute())
        words = [format_name, source, str(torch.get_num_threads())]
        close = weakref.WeakMethod(self.close)
        self._undoing = at_the_end(lambda: (method := close()) and method())
        self._process: subprocess.Popen[bytes] | ForkedProcess
        with in_force().held():
            is_ours = limits is None and script == RUNNER
            found = forked(format_name, words, self._stderr, self._scratch.name) if is_ours else None
            self._process = found or self._started(script, words)
        unusable = f"{path} cannot be loaded{_READERS.get(format_name, '')}"
        try:
            in_force().catch_up()
            if isinstance(self._process, ForkedProcess) and not self._process.answers_within(_LONG_SECONDS):
                self._process.kill()
                self._process = self._started(script, words)
            with self._at_most(limits.load_seconds if limits else None, "being loaded"):
                if limits is not None and content is not None:
                    self._send({"num_bytes": len(content), "spare_bytes": limits.bytes_for(0)}, content)
                header = self._receive()
            if header.get("missing"):
                raise ModuleNotFoundError(header["error"], name=header["missing"])
            if header.get("at_start"):
                raise ResourceError(f"the process that runs {path.name} cannot start: {header['error']}")
            if "error" in header:
                raise ArtifactError(f"{unusable}: {self._why(header, 0)}")
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError):
                raise ArtifactError(f"{unusable}: {error}") from error
            raise
        self.metadata: dict[str, str] = header["metadata"]
        self.signature: dict[str, Any] = header["signature"]

    def _started(self, script: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(script), *words, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self._scratch.name,
            # A Ctrl-C is meant for this process, which ends the other. Verification runs on the CPU.
            start_new_session=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **(_FRUGAL if self._limits else {})},
        )

    def __call__(self, batch: Tree, num_outputs: int | None = None) -> Tensor:
        """Return the scores of a batch.

        Raises WrongShape, without reading the scores, if there are not `num_outputs` for each sample.
        """
        size, limits = num_samples(batch), self._limits
        num_numbers = sum(leaf.numel() for leaf in tree_leaves(batch))
        request, contents = _request(batch)
        if limits is not None:
            request["spare_bytes"] = limits.bytes_for(num_numbers)
        with self._at_most(limits.seconds_for(size) if limits else None, _count(size)):
            self._send(request, *contents)
            header = self._receive()
            if "error" in header:
                raise RuntimeError(self._why(header, size, num_numbers))
            shape = header["shape"]
            if num_outputs is not None and shape != [size, num_outputs]:
                raise WrongShape(_shown(shape))
            assert self._process.stdout is not None
            scores = bytearray(self._process.stdout.read(4 * math.prod(shape)))
        self.seconds = header["seconds"]
        return torch.frombuffer(scores, dtype=torch.float32).reshape(shape) if scores else torch.empty(shape)

    def packages(self) -> list[str]:
        """Return the packages that the process has imported so far, without the standard library."""
        self._send({"packages": True})
        return self._receive()["packages"]

    def close(self) -> None:
        """End the process."""
        # It has nothing to save, and may be importing torch: an interrupt does not wait for that.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):  # the rest of the data is not needed
                pipe.close()
        self._scratch.cleanup()
        forget(self._undoing)

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.returncode is None:
            self.close()

    @contextlib.contextmanager
    def _at_most(self, seconds: float | None, what: str) -> Iterator[None]:
        """Kill the process if the block takes longer than `seconds`."""
        if seconds is None:
            yield
            return

        def kill() -> None:
            self._late = f"{what} takes longer than {seconds:,.0f} s"
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _why(self, header: dict[str, Any], num_samples: int, num_numbers: int = 0) -> str:
        """Return the error in an answer; if memory ran out, say how much there was."""
        if self._limits is None or not header.get("lacks_memory"):
            return _plain(header["error"])
        spare = self._limits.bytes_for(num_numbers) // 2**20
        what = _count(num_samples) if num_samples else "being loaded"
        return f"{what} takes more memory than the {spare:,} MiB that a file may use{_advice(num_samples)}"

    def _send(self, header: dict[str, Any], *contents: bytes | memoryview) -> None:
        """Send a header and its contents."""
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # _receive reports why
            pipe.write(json.dumps(header).encode() + b"\n")
            for content in contents:
                pipe.write(content)
            pipe.flush()

    def _receive(self) -> dict[str, Any]:
        """Return the next header; raise RuntimeError with the last output of the process if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline(_MAX_HEADER_BYTES)
        if line.endswith(b"\n"):
            return json.loads(line)
        if len(line) == _MAX_HEADER_BYTES:
            raise RuntimeError("its metadata is too long")
        code = self._process.wait()
        if self._late is not None:
            raise RuntimeError(f"{self._late}{_advice(0)}")
        if code == -signal.SIGKILL and self._limits is None:
            raise ResourceError(
                "the process that verifies an artifact was killed (SIGKILL), perhaps because memory ran out; the "
                "artifact is not verified, and saved files are intact: close programs, and export again with ckpt="
            )
        self._stderr.seek(0)
        words = _plain(self._stderr.read().decode(errors="replace"))[-_SHOWN_ERROR:]
        raise RuntimeError(f"its process ended with exit code {code}: {words or 'it printed nothing'}")


def _request(batch: Tree) -> tuple[dict[str, Any], list[memoryview]]:
    """Return the description of a batch, and the bytes of each of its tensors."""
    leaves = named_leaves(batch)
    contents = [_bytes_of(leaf) for leaf in leaves.values()]
    tensors = [
        {
            "name": name,
            "dtype": TEXT if isinstance(leaf, Texts) else str(leaf.dtype).removeprefix("torch."),
            "shape": [len(leaf)] if isinstance(leaf, Texts) else list(leaf.shape),
            "num_bytes": len(content),
        }
        for (name, leaf), content in zip(leaves.items(), contents, strict=True)
    ]
    return {"tensors": tensors, "form": form_of(batch), "num_bytes": sum(map(len, contents))}, contents


def _bytes_of(leaf: Tensor | Texts) -> memoryview:
    """Return the bytes of a tensor; texts as a list in JSON."""
    if isinstance(leaf, Texts):
        return memoryview(json.dumps(leaf.values).encode())
    return leaf.contiguous().view(-1).view(torch.uint8).numpy().data


def _plain(text: str) -> str:
    """Return a process's message on one line, without characters that control a terminal."""
    return CONTROL.sub("?", " ".join(text.split()))


def _count(num_samples: int) -> str:
    """Return the number of samples in words."""
    return "1 sample" if num_samples == 1 else f"a batch of {num_samples:,} samples"


def _advice(num_samples: int) -> str:
    """Return what was done, and what to do, if a file exceeded a limit."""
    smaller = f"; if you trust it, use data.eval_batch_size={num_samples // 2}" if num_samples > 1 else ""
    return f", and was stopped{smaller}"


def _shown(shape: Sequence[int]) -> str:
    """Return a shape as Python writes it."""
    return str(tuple(shape))[:_SHOWN_ERROR]

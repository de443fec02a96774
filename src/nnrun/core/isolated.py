"""An artifact in a process of its own, which has neither the model's class nor nnrun.

The process runs a script that is given by its path, in Python's isolated mode and in an empty folder of its own, and
speaks over its standard input and output: a line of JSON, then the bytes of an array. When this process ends, however
it ends, the other finds its input closed and ends as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnrun.errors import ArtifactError

_SHOWN_ERROR = 300


class Isolated:
    """Run an artifact by a script of its format, in a process that lives until `close`.

    A call takes a batch and returns scores in fp32. `seconds` is how long the last call took there, without the way
    there and back; `metadata` is what the artifact says of itself. Raises ArtifactError where the artifact cannot be
    loaded, ModuleNotFoundError where a package is missing, and RuntimeError where it cannot be run.
    """

    def __init__(self, script: Path, format_name: str, path: Path) -> None:
        self.seconds = 0.0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._scratch = tempfile.TemporaryDirectory(prefix="nnrun-")
        words = [format_name, str(path.absolute()), str(torch.get_num_threads())]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(script), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self._scratch.name,
            # A Ctrl-C is meant for this process, which ends the other. The proof is on the CPU.
            start_new_session=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        try:
            header = self._receive()
            if header.get("missing"):
                raise ModuleNotFoundError(header["error"], name=header["missing"])
            if "error" in header:
                raise ArtifactError(f"{path} cannot be loaded: {header['error']}")
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError):
                raise ArtifactError(f"{path} cannot be loaded: {error}") from error
            raise
        self.metadata: dict[str, str] = header["metadata"]

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the scores of a batch."""
        content = batch.contiguous().view(-1).view(torch.uint8)
        dtype = str(batch.dtype).removeprefix("torch.")
        self._send({"dtype": dtype, "shape": list(batch.shape), "num_bytes": len(content)}, content)
        header = self._receive()
        if "error" in header:
            raise RuntimeError(header["error"])
        assert self._process.stdout is not None
        scores = bytearray(self._process.stdout.read(header["num_bytes"]))
        self.seconds = header["seconds"]
        return torch.frombuffer(scores, dtype=torch.float32).reshape(header["shape"])

    def packages(self) -> list[str]:
        """Return what the process has imported by now that is not of the standard library."""
        self._send({"packages": True})
        return self._receive()["packages"]

    def close(self) -> None:
        """End the process."""
        # It has nothing to save, and may be in the midst of importing torch: an interrupt does not wait for that.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was not sent yet, nobody takes
                pipe.close()
        self._scratch.cleanup()

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.returncode is None:
            self.close()

    def _send(self, header: dict[str, Any], content: Tensor | None = None) -> None:
        """Send a header, and what follows it."""
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # the answer, which does not come, says why
            pipe.write(json.dumps(header).encode() + b"\n")
            if content is not None:
                pipe.write(content.numpy().data)
            pipe.flush()

    def _receive(self) -> dict[str, Any]:
        """Return the next header; raise RuntimeError with its last words where the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").strip()[-_SHOWN_ERROR:]
        raise RuntimeError(f"its process ended with {code}: {words or 'it said nothing'}")

from __future__ import annotations

import functools
import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor


def idx_bytes(values: Tensor) -> bytes:
    """The idx format, written independently of the reader: >I is a big-endian uint32."""
    header = struct.pack(">I", 0x0800 + values.dim()) + b"".join(struct.pack(">I", size) for size in values.shape)
    return header + values.to(torch.uint8).numpy().tobytes()


@dataclass
class IdxFolder:
    """A small data set in torchvision's layout, and what was written into it."""

    root: Path
    folder: Path
    images: dict[str, Tensor]
    labels: dict[str, Tensor]

    def write(self, name: str, content: bytes) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_bytes(content)
        return path

    def pack(self) -> None:
        """Leave each file as .gz alone."""
        for path in list(self.folder.iterdir()):
            self.write(f"{path.name}.gz", gzip.compress(path.read_bytes()))
            path.unlink()


def write_idx_folder(tmp_path: Path, name: str = "MNIST", num_train: int = 30, num_test: int = 20) -> IdxFolder:
    generator = torch.Generator().manual_seed(1)
    result = IdxFolder(tmp_path / "data", tmp_path / "data" / name / "raw", {}, {})
    for prefix, num_samples in (("train", num_train), ("t10k", num_test)):
        result.images[prefix] = torch.randint(0, 256, (num_samples, 28, 28), generator=generator, dtype=torch.uint8)
        result.labels[prefix] = torch.randint(0, 10, (num_samples,), generator=generator, dtype=torch.uint8)
        result.write(f"{prefix}-images-idx3-ubyte", idx_bytes(result.images[prefix]))
        result.write(f"{prefix}-labels-idx1-ubyte", idx_bytes(result.labels[prefix]))
    return result


@pytest.fixture
def idx_folder(tmp_path: Path) -> IdxFolder:
    return write_idx_folder(tmp_path)


@pytest.fixture
def make_idx_folder(tmp_path: Path):
    return functools.partial(write_idx_folder, tmp_path)


@pytest.fixture(name="idx_bytes")
def _idx_bytes():
    return idx_bytes


@dataclass
class Server:
    """Files served on this machine; `dies_after` bytes of a file the connection closes."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    dies_after: dict[str, int] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)

    def serve(self, name: str, content: bytes) -> str:
        """Serve a file; return its md5."""
        self.files[name] = content
        return hashlib.md5(content).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            state.requested.append(name)
            content = state.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: state.dies_after.get(name)])

        def log_message(self, format: str, *args: object) -> None:
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http_server.server_port}")
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    http_server.shutdown()
    http_server.server_close()
    thread.join()


@pytest.fixture
def dead_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where the connection is refused, as without a network."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    probe = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = probe.server_port
    probe.server_close()
    return f"http://127.0.0.1:{port}"

"""A small stand-in for huggingface.co: it makes repositories and takes commits, for one token."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_aSecretThatNoFileMayHold"


@dataclass
class FakeHub:
    """What was made and uploaded: whether each repository is private, and its files."""

    repos: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    url: str = ""


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve a hub on this machine."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].removeprefix("/api/models/")
            if name in hub.repos:
                self._answer(200, {"id": name, "sha": "0" * 40, "private": hub.repos[name], "siblings": []})
            else:
                self._answer(404, {"error": "Repository not found"}, "RepoNotFound")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            place = self.path.partition("?")[0]
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(
                    403, {"error": "Forbidden: you don't have the rights to create a model under this namespace"}
                )
            elif place == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                hub.repos[name] = asked.get("private", asked.get("visibility") == "private")
                self._answer(200, {"url": f"{hub.url}/{name}", "name": name})
            elif place == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in place:
                files = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in json.loads(body)["files"]
                ]
                self._answer(200, {"files": files})
            else:
                name = place.removeprefix("/api/models/").partition("/commit/")[0]
                lines = [json.loads(line) for line in body.splitlines()]
                kept = {of["value"]["path"]: of["value"]["content"] for of in lines if of["key"] == "file"}
                hub.files[name] = {path: base64.b64decode(content) for path, content in kept.items()}
                self._answer(
                    200, {"success": True, "commitOid": "1" * 40, "commitUrl": f"{hub.url}/{name}/commit/{'1' * 40}"}
                )

        def _answer(self, status: int, content: dict[str, Any], code: str = "") -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

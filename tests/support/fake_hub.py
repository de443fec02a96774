"""A small stand-in for huggingface.co: it makes repositories and takes commits, for one token, and gives files.

Large files are elsewhere, as those of the hub are: it answers with a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
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
    # What can be downloaded: the files of a repository by commit, and the commits that a branch or tag means.
    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    # Repositories for the token alone, and the paths that were asked for.
    closed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    @property
    def elsewhere(self) -> str:
        """The start of the addresses of large files: another host, as far as a client can tell."""
        return f"{self.url.replace('127.0.0.1', 'localhost')}/elsewhere"


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve a hub on this machine."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            name = self.path.partition("?")[0].removeprefix("/api/models/")
            if self.path.startswith("/elsewhere/"):
                self._send(200, hub.files["elsewhere"][self.path.removeprefix("/elsewhere/")], {})
            elif "/resolve/" in name or "/revision/" in name or "/tree/" in name:
                self._download(name)
            elif name in hub.repos:
                self._answer(200, {"id": name, "sha": "0" * 40, "private": hub.repos[name], "siblings": []})
            else:
                self._answer(404, {"error": "Repository not found"}, "RepoNotFound")

        do_HEAD = do_GET

        def _download(self, place: str) -> None:
            kind = next(each for each in ("resolve", "revision", "tree") if f"/{each}/" in place)
            name, _, rest = place.strip("/").partition(f"/{kind}/")
            revision, _, file = rest.partition("/")
            commit = hub.branches.get(revision, revision)
            if name in hub.closed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, {"error": "Invalid credentials"}, "RepoNotFound")
            elif name not in hub.commits:
                self._answer(404, {"error": "Repository not found"}, "RepoNotFound")
            elif commit not in hub.commits[name]:
                self._answer(404, {"error": "Invalid rev id"}, "RevisionNotFound")
            elif kind == "revision":
                siblings = [{"rfilename": path} for path in hub.commits[name][commit]]
                self._answer(200, {"id": name, "sha": commit, "private": False, "siblings": siblings})
            elif kind == "tree":
                self._answer(
                    200,
                    [
                        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for path, content in hub.commits[name][commit].items()
                    ],
                )
            elif file not in hub.commits[name][commit]:
                self._answer(404, {"error": "Entry not found"}, "EntryNotFound")
            else:
                self._give(hub.commits[name][commit][file], commit, is_large=file.endswith(".safetensors"))

        def _give(self, content: bytes, commit: str, *, is_large: bool) -> None:
            sha256 = hashlib.sha256(content).hexdigest()
            if not is_large:
                self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{sha256[:40]}"'})
                return
            hub.files.setdefault("elsewhere", {})[sha256] = content
            linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            self._send(302, b"", {"X-Repo-Commit": commit, "Location": f"{hub.elsewhere}/{sha256}", **linked})

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

        def _answer(self, status: int, content: Any, code: str = "") -> None:
            headers = {"Content-Type": "application/json"} | ({"X-Error-Code": code} if code else {})
            self._send(status, json.dumps(content).encode(), headers)

        def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
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

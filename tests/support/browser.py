"""A headless Chromium that opens pages, by the DevTools protocol over pipes: no package is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60


class Browser:
    """One browser with one tab; `errors` and `requests` are what the console said and what was loaded of others."""

    def __init__(self, profile: Path) -> None:
        """Start it with an empty profile."""
        assert CHROMIUM
        self._number, self._answers = 0, bytearray()
        self.errors: list[str] = []
        self.requests: list[str] = []
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads from its descriptor 3 and writes to 4: out of the way of both.
        theirs = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (theirs_in, theirs_out)]
        line = f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]} {theirs[0]}<&- {theirs[1]}>&-'
        command = ["bash", "-c", line, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for descriptor in (theirs_in, theirs_out, *theirs):
            os.close(descriptor)
        (page,) = [
            target for target in self._call("Target.getTargets", {})["targetInfos"] if target["type"] == "page"
        ]  # fmt: skip
        found = self._call("Target.attachToTarget", {"targetId": page["targetId"], "flatten": True})
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send("Browser.close", {}, None)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: object) -> Any:
        """Send a command to the tab; return its result."""
        return self._call(method, parameters, self._session)

    def open(self, path: Path, *, width: int, height: int = 900, is_dark: bool = False, scale: float = 1) -> None:
        """Open a file in a window of that width; return once its charts are drawn."""
        self.errors.clear()
        self.requests.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.set_media(is_dark=is_dark)
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("document.readyState === 'complete'")

    def set_media(self, *, is_dark: bool, media: str = "screen") -> None:
        """Choose light or dark mode, and screen or print."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as plain data."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not true after {SECONDS} s: {expression}"
            time.sleep(0.02)

    def move_to(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window."""
        for step in (3, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - step, y=y - step)

    def screenshot(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """Write a picture of the window, or of the part `clip` of the page: x, y, width, height."""
        area = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True} if clip else {}
        data = self.call("Page.captureScreenshot", format="png", **area)["data"]
        path.write_bytes(base64.b64decode(data))

    def whole(self) -> dict[str, float]:
        """Return the page's whole area, to take a picture of."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"]}

    def _send(self, method: str, parameters: dict[str, Any], session: str | None) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        return self._number

    def _call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> Any:
        number = self._send(method, parameters, session)
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._answers:
            ready, _, _ = select.select([self._in], [], [], SECONDS)
            data = os.read(self._in, 1 << 20) if ready else b""
            assert data, f"the browser did not answer within {SECONDS} s, or ended"
            self._answers += data
        line, _, rest = bytes(self._answers).partition(b"\0")
        self._answers = bytearray(rest)
        return json.loads(line)

    def _note(self, message: dict[str, Any]) -> None:
        """Take down what the page says and loads."""
        about = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(about["args"]))
            case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                self.errors.append(about["entry"]["text"])
            case "Network.requestWillBeSent" if not about["request"]["url"].startswith(("file:", "data:")):
                self.requests.append(about["request"]["url"])

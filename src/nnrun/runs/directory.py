"""The run directory: its name, its status, its rows of metrics. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.base.files import DurableFile, as_json, read_record, saving, without_nan, write_json, write_text
from nnrun.base.lock import LOCK_NAME
from nnrun.base.paths import alone, inside
from nnrun.runs.seal import KEY, seal_of

STATUS_SCHEMA = 1
# The file of the command line's words, and its content where there were none.
_WORDS, _NO_WORDS = "overrides.yaml", "[]\n"
_MAX_ROW_BYTES = 2**20
_SCALARS = (str, int, float, type(None))


def create(wanted: Path | None, name: str, base: Path = Path("outputs")) -> Path:
    """Create and return the directory of a new run: the `wanted` one, if it is new or empty, or one named by the time.

    Two runs never get the same one, however close their starts: mkdir is atomic.
    """
    if wanted is not None:
        with saving(wanted):
            wanted.mkdir(parents=True, exist_ok=True)
            if any(entry.name != LOCK_NAME for entry in wanted.iterdir()):
                raise ConfigError(
                    f"hydra.run.dir={wanted} is in use (not empty); choose another, or continue with resume={wanted}"
                )
        return wanted
    now = datetime.now()
    folder = base / now.strftime("%Y-%m-%d")
    return create_numbered(folder, f"{now.strftime('%H-%M-%S')}_{plain_name(name)}")


def create_numbered(folder: Path, name: str) -> Path:
    """Create and return `folder/name`, or `name-2`, `name-3` and so on where that exists."""
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = folder / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    raise AssertionError("ten thousand runs in one second")


def plain_name(text: str) -> str:
    """Return a text as a file name: letters, digits, `_`, `-`, `.` and `,`; no space and no `=`."""
    return re.sub(r"[^\w.,+-]+", "-", text).strip("-.")[:80] or "run"


class RunDir:
    """The directory of a run that is under way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status: dict[str, Any] = {}
        self._rows = alone(inside(path, "metrics.jsonl"))
        self._opened = time.perf_counter()

    def seconds(self) -> float:
        """Return the time since the run began in this process, to the millisecond."""
        return round(time.perf_counter() - self._opened, 3)

    def describe(self, config: str, words: str) -> None:
        """Write the run's config and the words of its command line, as YAML without secrets."""
        self.write_config(config)
        write_text(self.path / _WORDS, words)

    def describe_again(self, config: str, record: str) -> None:
        """Write the config of a resumed run, and append a record to the words of its command line.

        The record is YAML: an entry of the list that `describe` wrote.
        """
        self.write_config(config)
        path = alone(inside(self.path, _WORDS))
        with saving(path):
            if not path.exists() or path.stat().st_size <= len(_NO_WORDS):
                write_text(path, record)
                return
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(record)
                file.flush()
                os.fsync(file.fileno())

    def write_config(self, config: str) -> None:
        """Write the config alone: opening the data may have changed it."""
        write_text(self.path / "config.yaml", config)

    def set_status(self, **values: Any) -> None:
        """Replace status.json with the status so far and `values`."""
        self._status |= values
        write_json(self.path / "status.json", self._status, STATUS_SCHEMA)

    def remember(self, **values: Any) -> None:
        """Add to the status without writing it: the next `set_status` does."""
        self._status |= values

    def start(self, task: str, resumed: Mapping[str, Any] | None = None) -> None:
        """Record that the run is under way; `resumed` says where it resumes, and with which changes."""
        self._status = self.earlier_status()
        earlier = self._status.get("resumed") or []
        self.set_status(
            id=self._status.get("id") or secrets.token_hex(8),
            task=task,
            state="running",
            pid=os.getpid(),
            host=socket.gethostname(),
            started=self._status.get("started") or now(),
            resumed=[*earlier, {"at": now(), **resumed}] if resumed else earlier,
            ended=None,
            exit_code=None,
            reason=None,
        )

    def end(self, state: str, exit_code: int, reason: str | None, *, seals: bool = True) -> None:
        """Record how the run ended, and seal what it wrote; on a full disk, by overwriting the file in place."""
        values = {"state": state, "ended": now(), "exit_code": exit_code, "reason": reason}
        values |= {KEY: seal_of(self.path)} if seals else {}
        try:
            self.set_status(**values)
        except ResourceError:
            _write_over(alone(inside(self.path, "status.json")), as_json(self._status, STATUS_SCHEMA))
            raise

    def seal(self) -> None:
        """Seal what the run wrote, where that ends after the run did."""
        self.set_status(**{KEY: seal_of(self.path)})

    def earlier_status(self) -> dict[str, Any]:
        """Return what an earlier process wrote to status.json, or nothing."""
        value = read_record(self.path / "status.json")
        if value is None:
            return {}
        resumed = value.get("resumed")
        # It is written again: entries that are not ours are dropped.
        earlier = [entry for entry in resumed if _is_flat(entry)] if isinstance(resumed, list) else []
        kept = {key: item for key, item in value.items() if isinstance(item, _SCALARS) and key != "schema"}
        return kept | {"resumed": earlier}

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        with saving(self._rows), self._rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(without_nan(row)) + "\n")

    def sync_rows(self) -> None:
        """Sync the rows to the disk, before a checkpoint that counts them."""
        if self._rows.is_file():
            with saving(self._rows), self._rows.open("rb") as file:
                os.fsync(file.fileno())

    def count_rows(self) -> int:
        """Return the number of complete rows in metrics.jsonl."""
        if not self._rows.is_file():
            return 0
        with self._rows.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))

    def read_rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl; lines that are damaged are left out."""
        found = []
        if self._rows.is_file():
            with self._rows.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    with suppress(ValueError):
                        row = json.loads(line)
                        if isinstance(row, dict) and {"step", "epoch", "split"} <= row.keys():
                            found.append(row)
        return found

    def cut_rows(self, num_rows: int) -> None:
        """Drop the rows that were written after the checkpoint that a run resumes from."""
        with saving(self._rows), DurableFile(self.path) as kept:
            if self._rows.is_file():
                with self._rows.open("rb") as rows:
                    for _ in range(num_rows):
                        # A line without an end was cut off, or is too long for a row.
                        if not (row := rows.readline(_MAX_ROW_BYTES)).endswith(b"\n"):
                            break
                        kept.write(row)
            kept.commit(self._rows.name)


def _is_flat(entry: Any) -> bool:
    """Return whether an entry has the form of those that a resumed run writes: plain values, and lists of them."""
    if not isinstance(entry, dict):
        return False
    values = [item for value in entry.values() for item in (value if isinstance(value, list) else [value])]
    return all(isinstance(value, _SCALARS) for value in values)


def _write_over(path: Path, text: str) -> None:
    """Overwrite a file in place, where no new file can be written; do nothing if that fails too."""
    content = text.encode()
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            # On a full disk, the file has only the blocks that it already has.
            has_room = os.fstat(descriptor).st_blocks * 512 >= len(content)
            if has_room and os.pwrite(descriptor, content, 0) == len(content):
                os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)


def now() -> str:
    """Return the local time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")

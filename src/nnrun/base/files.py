"""Writing files whole or not at all, reading small ones, hashes. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import explain

TEMPORARY_SUFFIX = ".tmp"
# The largest that nnrun writes, the summary of a thousand classes, has some hundred kilobytes.
MAX_JSON_BYTES = 16 * 2**20


class DurableFile:
    """Write a file that appears in its folder whole and synced, or not at all.

        with DurableFile(folder) as file:
            torch.save(payload, file)
            path = file.commit(f"weights-{file.sha256[:8]}.pt")

    The order is write beside, fsync, rename, fsync the folder. What passes is hashed, so that a file can be named by
    its own hash. Without a commit nothing is left behind. `poll` is asked before each write and before the file gets
    its name, and may raise.
    """

    def __init__(self, folder: Path, poll: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._poll = poll
        self._sha256 = hashlib.sha256()
        self._failure: OSError | None = None
        self.num_bytes = 0

    def __enter__(self) -> DurableFile:
        # Not by tempfile, whose files only their owner may read: to change that one would have to ask for the umask,
        # and whoever asks has set it, for all threads of the process.
        path = self._folder / f".{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        self._temporary: Path | None = path
        self._undoing = at_the_end(path.unlink)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            # What is left in the buffer of a full disk's file cannot be written here either.
            with contextlib.suppress(OSError):
                self._file.close()
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            forget(self._undoing)
        if self._failure is not None and error is not None and not isinstance(error, OSError):
            raise self._failure from error

    def write(self, data: Any) -> int:
        """Write and hash all of `data`; return its length in bytes."""
        self._poll()
        self._sha256.update(data)
        self.num_bytes += memoryview(data).nbytes
        try:
            return self._file.write(data)
        except OSError as error:
            # torch.save ends with an error of its own about it, which tells nobody anything.
            self._failure = error
            raise

    def flush(self) -> None:
        """Flush to the operating system (torch.save asks for it)."""
        self._file.flush()

    @property
    def sha256(self) -> str:
        """The sha256 of all that was written, in hexadecimal."""
        return self._sha256.hexdigest()

    def commit(self, name: str) -> Path:
        """Sync the bytes, give them their name, sync the folder; return the path."""
        assert self._temporary is not None, "a file is committed once"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._poll()
        path = self._folder / name
        self._temporary.replace(path)
        self._temporary = None
        sync_folder(self._folder)
        return path


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Make all that is in `folder` survive a power cut, folders within it too."""
    for path, _, names in os.walk(folder):
        for name in names:
            with (Path(path) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(path))


def check_room(folder: Path, num_bytes: int) -> None:
    """Raise OSError where a file of so many bytes cannot be written in a folder; none is left there."""
    if num_bytes > (limit := resource.getrlimit(resource.RLIMIT_FSIZE)[0]) != resource.RLIM_INFINITY:
        raise OSError(errno.EFBIG, f"a file may have {limit:,} bytes here")
    free = free_bytes(folder)
    if free is not None and free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryFile(dir=folder) as file, contextlib.suppress(AttributeError):  # macOS has no such call
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, num_bytes))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # nor has every file system
                raise


def write_text(path: Path, text: str) -> None:
    """Replace a small text file whole or not at all; what UTF-8 cannot write becomes `\\udcff`, as JSON knows it."""
    with saving(path), DurableFile(path.parent) as file:
        file.write(text.encode(errors="backslashreplace"))
        file.commit(path.name)


def write_json(path: Path, value: Mapping[str, Any], schema: int) -> None:
    """Replace a JSON file whole or not at all.

    `schema` is the number of the file's form, which it states first. The number rises where a key gets another meaning
    or goes; a reader passes over keys that it does not know.
    """
    write_text(path, as_json(value, schema))


def as_json(value: Mapping[str, Any], schema: int) -> str:
    """Return the text of a JSON file that states its schema."""
    return json.dumps(without_nan({"schema": schema, **value}), indent=2, ensure_ascii=False) + "\n"


def without_nan(value: Any) -> Any:
    """Return plain values with null for each number that is NaN or infinite: JSON has none of them."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; raise ValueError where it is none, is nested too deep, or too large to be ours.

    Raises OSError where the file cannot be read.
    """
    check_is_file(path)
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"it has more than {MAX_JSON_BYTES:,} bytes")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file of a run says by name; None where it cannot be read, or says nothing by name."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def check_is_file(path: Path) -> None:
    """Raise OSError for a pipe, a device or a socket: opening or reading one may wait for ever."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    if (kind := kinds.get(stat.S_IFMT(mode))) is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, and no file; save what it gives as a file", str(path))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    check_is_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep_temporaries(folder: Path) -> None:
    """Remove what an interrupted write left behind. Only under the folder's lock."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        if not leftover.is_dir():
            leftover.unlink(missing_ok=True)


@contextmanager
def saving(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Turn what a disk can do to a write into a ResourceError that names the path, the cause and the way out.

    `num_bytes` is what is to be written, where that is known.
    """
    try:
        yield
    except OSError as error:
        needs = f" ({num_bytes:,} bytes)" if num_bytes else ""
        raise ResourceError(f"cannot write {path}{needs}: {explain(error)}{_room(error, path)}") from error


def state_of(status: os.stat_result) -> str:
    """Return what tells whether a file is another than it was, from its status.

    Its size and the time of its content are not enough: `cp -p`, `rsync -t` and `touch -r` set that time. Nobody sets
    the time at which a file's status changed.
    """
    return f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}"


def free_bytes(path: Path) -> int | None:
    """Return how much room there is where a path lies or would lie, or None where that cannot be known."""
    try:
        return shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists())).free
    except OSError:
        return None


def _room(error: OSError, path: Path) -> str:
    """Return how much room is left, for an error that says there is too little."""
    free = free_bytes(path) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    return "" if free is None else f" ({free:,} bytes are free)"

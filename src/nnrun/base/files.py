"""Write files whole or not at all, read small ones, hash them. Standard library only."""

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
# The largest that nnrun writes, the summary of a thousand classes, is well below a megabyte.
MAX_JSON_BYTES = 16 * 2**20


class DurableFile:
    """Write a file that appears in its folder whole and synced, or not at all.

        with DurableFile(folder) as file:
            torch.save(payload, file)
            path = file.commit(f"weights-{file.sha256[:8]}.pt")

    The order is: write a temporary file, fsync, rename, fsync the folder. All bytes are hashed on the way, so that a
    file can be named after its own hash. Without a commit nothing is left behind. `poll` is called before each write
    and before the rename, and may raise.
    """

    def __init__(self, folder: Path, poll: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._poll = poll
        self._sha256 = hashlib.sha256()
        self._failure: OSError | None = None
        self.num_bytes = 0

    def __enter__(self) -> DurableFile:
        # Not tempfile, whose files only their owner may read: changing that needs the umask, and the call that
        # returns the umask also sets it, for all threads of the process.
        path = self._folder / f".{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        self._temporary: Path | None = path
        self._undoing = at_the_end(path.unlink)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            # On a full disk, the rest of the buffer cannot be written here either.
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
            # torch.save replaces it with an error of its own that hides the cause.
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
        """Sync the file, give it its name, sync the folder; return the path."""
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
    """Make everything in `folder` survive a power cut, including its subfolders."""
    for path, _, names in os.walk(folder):
        for name in names:
            with (Path(path) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(path))


def check_room(folder: Path, num_bytes: int) -> None:
    """Raise OSError if a file of `num_bytes` cannot be written in a folder; leave no file behind."""
    if num_bytes > (limit := resource.getrlimit(resource.RLIMIT_FSIZE)[0]) != resource.RLIM_INFINITY:
        raise OSError(errno.EFBIG, f"files are limited to {limit:,} bytes")
    free = free_bytes(folder)
    if free is not None and free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryFile(dir=folder) as file, contextlib.suppress(AttributeError):  # missing on macOS
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, num_bytes))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # or on this file system
                raise


def write_text(path: Path, text: str) -> None:
    """Replace a small text file whole or not at all; what UTF-8 cannot encode is escaped as in JSON: `\\udcff`."""
    with saving(path), DurableFile(path.parent) as file:
        file.write(text.encode(errors="backslashreplace"))
        file.commit(path.name)


def write_json(path: Path, value: Mapping[str, Any], schema: int) -> None:
    """Replace a JSON file whole or not at all.

    `schema` is the version of the file's format, and its first key. It rises when a key changes its meaning or is
    removed; readers ignore unknown keys.
    """
    write_text(path, as_json(value, schema))


def as_json(value: Mapping[str, Any], schema: int) -> str:
    """Return the text of a JSON file that states its schema."""
    return json.dumps(without_nan({"schema": schema, **value}), indent=2, ensure_ascii=False) + "\n"


def without_nan(value: Any) -> Any:
    """Return plain values with None for each number that is NaN or infinite: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises ValueError if it is not JSON, nested too deep, or larger than any of nnrun's; OSError if it cannot be read.
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
    """Return the mapping in a JSON file of a run; None if it cannot be read, or is not a mapping."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def check_is_file(path: Path) -> None:
    """Raise OSError for a pipe, a device or a socket: opening or reading one may block forever."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    if (kind := kinds.get(stat.S_IFMT(mode))) is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, not a file; save its content to a file", str(path))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    check_is_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_link(link: Path, target: str) -> None:
    """Let a link lead to `target`, replacing it whole. Raises ResourceError where that cannot be."""
    temporary = link.parent / f".{link.name}-{os.getpid()}{TEMPORARY_SUFFIX}"
    with saving(link):
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(target)
            temporary.replace(link)
        finally:
            temporary.unlink(missing_ok=True)


def sweep_temporaries(folder: Path) -> None:
    """Remove what an interrupted write left behind. Call it only while holding the folder's lock."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        if not leftover.is_dir():
            leftover.unlink(missing_ok=True)


@contextmanager
def saving(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Turn an OSError of a write into a ResourceError that names the path, the cause and what to do.

    `num_bytes` is the size to be written, where known.
    """
    try:
        yield
    except OSError as error:
        needs = f" ({num_bytes:,} bytes)" if num_bytes else ""
        raise ResourceError(f"cannot write {path}{needs}: {explain(error)}{_room(error, path)}") from error


def state_of(status: os.stat_result) -> str:
    """Return a text, from a file's status, that changes whenever the file does.

    Its size and modification time are not enough: `cp -p`, `rsync -t` and `touch -r` set that time. Nobody can set
    ctime, the time at which a file's status changed.
    """
    return f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}"


def free_bytes(path: Path) -> int | None:
    """Return the free space on the file system of a path, which need not exist; None if it is unknown."""
    try:
        return shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists())).free
    except OSError:
        return None


def _room(error: OSError, path: Path) -> str:
    """Return how much space is left, for errors that say there is too little."""
    free = free_bytes(path) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    return "" if free is None else f" ({free:,} bytes are free)"

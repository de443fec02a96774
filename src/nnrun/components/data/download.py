"""Download the files of a published data set, atomically and with a checksum."""

from __future__ import annotations

import hashlib
import http.client
import logging
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.files import DurableFile
from nnrun.base.meter import meter
from nnrun.components.data.data_root import damaged, storing, unreadable

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 2**18

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, the URLs of the folders that contain it, its md5 in hexadecimal."""

    name: str
    mirrors: tuple[str, ...]
    md5: str

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of the file, in the order to try them."""
        return tuple(f"{mirror.rstrip('/')}/{self.name}" for mirror in self.mirrors)


def obtain(name: str, root: str, folder: Path, files: Sequence[RemoteFile], download: bool) -> None:
    """Download the missing files of a data set into its folder.

    Raises DataError that lists them and their source where they may not or cannot be downloaded.
    """
    sources = " or ".join(files[0].mirrors)
    by_hand = f"put {', '.join(file.name for file in files)} into {folder} (from {sources})"
    if not download:
        raise DataError(f"data.root={root} lacks files of {name}: set data.download=true, or", by_hand)
    for file in files:
        try:
            fetch(file, folder)
        except DataError as error:
            raise DataError(
                f"data.root={root} lacks files of {name}, and they cannot be downloaded:",
                *error.messages,
                f"check the network, or {by_hand}",
            ) from error


def fetch(file: RemoteFile, folder: Path) -> Path:
    """Download a file into `folder`, which is created if missing, from the first mirror with the right bytes.

    If all mirrors fail, raises DataError with a line for each, and leaves nothing of the file.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for url in file.urls:
        try:
            return _fetch_from(url, file, folder)
        except DataError as error:
            failures.extend(error.messages)
    raise DataError(*failures)


def _fetch_from(url: str, file: RemoteFile, folder: Path) -> Path:
    """Download a file from one URL; raise DataError where the connection breaks or the md5 is wrong."""
    log.info("downloading %s into %s", url, folder)
    md5 = hashlib.md5(usedforsecurity=False)
    with storing(folder), DurableFile(folder) as target, meter(f"downloading {file.name}", None, "bytes") as advance:
        for chunk, total_bytes in _chunks(url):
            md5.update(chunk)
            target.write(chunk)
            advance(len(chunk), total_bytes)
        if md5.hexdigest() != file.md5:
            raise DataError(f"{url}: the checksum is wrong (md5 {md5.hexdigest()}, not {file.md5}); nothing was kept")
        return target.commit(file.name)


def _chunks(url: str) -> Iterator[tuple[bytes, int | None]]:
    """Yield the content of a URL in pieces, each with the total bytes if the server states them.

    Raises DataError where the network or the server fails.
    """
    num_bytes, total_bytes = 0, None
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "nnrun"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            length = response.headers.get("Content-Length", "")
            total_bytes = int(length) if length.isdigit() else None
            while data := response.read(CHUNK_BYTES):
                num_bytes += len(data)
                yield data, total_bytes
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # the error is the response too, with its connection
        reason = error.reason if type(error) is urllib.error.URLError else error
        raise DataError(f"{url}: {str(reason) or type(reason).__name__}") from error
    # http.client treats a connection that closes early as the end of the file.
    if total_bytes is not None and num_bytes < total_bytes:
        raise DataError(f"{url}: the connection closed after {num_bytes:,} of {total_bytes:,} bytes; nothing was kept")


def check_download(file: RemoteFile, path: Path) -> None:
    """Raise DataError where a file that is there already is not the published one."""
    try:
        with path.open("rb") as opened:
            md5 = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
    if md5 != file.md5:
        raise damaged(path, f"the checksum is wrong (md5 {md5}, not {file.md5})")


def extract(archive: Path, folder: Path, names: Sequence[str]) -> None:
    """Write the named files of a tar archive into `folder`, each atomically; raise DataError where it is damaged.

    Only the last component of a member's path is used, so the archive does not decide where a file is written. An
    archive with a path outside its folder is refused all the same, before anything is written: it is an attack.
    """
    try:
        with tarfile.open(archive) as tar:
            members = [tarfile.data_filter(member, str(folder)) for member in tar.getmembers()]
            wanted = {Path(member.name).name: member for member in members if member.isfile()}
            lacking = [name for name in names if name not in wanted]
            if lacking:
                raise damaged(archive, f"it lacks {', '.join(lacking)}")
            for name in names:
                _write_member(tar, wanted[name], folder, name)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise unreadable(archive, error) from error


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, name: str) -> None:
    """Write one file of an archive into `folder`."""
    source = tar.extractfile(member)
    assert source is not None, "only plain files are wanted"
    content = source.read()
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with DurableFile(folder) as target:
            target.write(content)
            target.commit(name)

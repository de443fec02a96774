from __future__ import annotations

import errno
import io
import logging
import tarfile
from pathlib import Path

import pytest

from nnrun.base.errors import DataError, ResourceError
from nnrun.base.files import DurableFile
from nnrun.base.meter import Meter, shown_by
from nnrun.components.data.data_root import data_root
from nnrun.components.data.download import RemoteFile, extract, fetch, obtain

CONTENT = bytes(range(256)) * 4000


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_fetches_whole_into_a_new_folder(server, tmp_path, caplog) -> None:
    md5 = server.serve("a.gz", CONTENT)
    folder = tmp_path / "new" / "raw"
    with caplog.at_level(logging.INFO):
        path = fetch(RemoteFile("a.gz", (server.url,), md5), folder)
    assert path == folder / "a.gz"
    assert path.read_bytes() == CONTENT
    assert files_below(tmp_path) == [path]
    assert caplog.messages == [f"downloading {server.url}/a.gz into {folder}"]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path) -> None:
    server.serve("a.gz", CONTENT)
    with pytest.raises(DataError, match=f"{server.url}/a.gz: the checksum is wrong .md5 .*, not {'0' * 32}"):
        fetch(RemoteFile("a.gz", (server.url,), "0" * 32), tmp_path)
    assert files_below(tmp_path) == []


def test_a_wrong_checksum_leaves_an_old_file_as_it_was(server, tmp_path) -> None:
    (tmp_path / "a.gz").write_bytes(b"old")
    server.serve("a.gz", CONTENT)
    with pytest.raises(DataError):
        fetch(RemoteFile("a.gz", (server.url,), "0" * 32), tmp_path)
    assert (tmp_path / "a.gz").read_bytes() == b"old"


def test_a_download_that_dies_half_way_leaves_nothing(server, tmp_path) -> None:
    md5 = server.serve("a.gz", CONTENT)
    server.dies_after["a.gz"] = 600_000
    with pytest.raises(DataError, match=r"closed after 600,000 of 1,024,000 bytes"):
        fetch(RemoteFile("a.gz", (server.url,), md5), tmp_path)
    assert files_below(tmp_path) == []


def test_the_next_mirror_is_tried(server, dead_url, tmp_path) -> None:
    md5 = server.serve("good/a.gz", CONTENT)
    server.serve("bad/a.gz", b"<html>moved</html>")
    mirrors = (f"{dead_url}/", f"{server.url}/none", f"{server.url}/bad/", f"{server.url}/good/")
    path = fetch(RemoteFile("a.gz", mirrors, md5), tmp_path)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DataError) as caught:  # control: without the good one each failure is told
        fetch(RemoteFile("b.gz", mirrors[:2], md5), tmp_path)
    refused, missing = caught.value.messages
    assert "Connection refused" in refused
    assert "404" in missing


def test_what_cannot_be_fetched_is_listed(dead_url, tmp_path) -> None:
    files = [RemoteFile(name, (f"{dead_url}/",), "0" * 32) for name in ("a.gz", "b.gz")]
    with pytest.raises(DataError) as caught:
        obtain("SETS", "data", tmp_path, files, download=True)
    assert caught.value.messages[-1] == f"check the network, or put a.gz, b.gz into {tmp_path} (from {dead_url}/)"
    assert len(caught.value.messages) == 3


def test_the_bytes_of_a_download_are_counted_for_who_shows_them(server, tmp_path, capsys, monkeypatch) -> None:
    """Negative control: where nobody does, nothing is printed."""
    monkeypatch.setattr(logging.getLogger("nnrun"), "handlers", [])  # a run in this process leaves one, of its stderr
    file = RemoteFile("a.gz", (server.url,), server.serve("a.gz", CONTENT))
    works: list[Meter] = []

    class Shown:
        def begin(self, work: Meter) -> None:
            works.append(work)

        def moved(self) -> None: ...

        def end(self, work: Meter) -> None: ...

    with shown_by(Shown()):
        fetch(file, tmp_path)
    (work,) = works
    assert (work.what, work.unit, work.done, work.total) == ("downloading a.gz", "bytes", len(CONTENT), len(CONTENT))
    fetch(file, tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # permissions do not bind root, who may run the tests
    with pytest.raises(ResourceError, match=f"cannot write into {tmp_path}/raw: Permission denied.*data.root"):
        fetch(RemoteFile("a.gz", (server.url,), "0" * 32), tmp_path / "raw")
    assert server.requested == []


def test_a_full_disk_is_no_fault_of_the_mirror(server, tmp_path, monkeypatch) -> None:
    md5 = server.serve("a.gz", CONTENT)

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DurableFile, "__enter__", full)
    with pytest.raises(ResourceError, match="No space left on device"):
        fetch(RemoteFile("a.gz", (server.url, server.url), md5), tmp_path)


def pack(path: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, size: int = 3, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def test_extracts_the_named_files(tmp_path) -> None:
    archive = pack(tmp_path / "a.tar.gz", member("set/one"), member("set/two", 5), member("set/other"))
    extract(archive, tmp_path / "set", ["one", "two"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == {"one": b"xxx", "two": b"xxxxx"}


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("set/../../evil"),
        member("link", 0, type=tarfile.SYMTYPE, linkname="../evil"),
        member("link", 0, type=tarfile.LNKTYPE, linkname="../evil"),
        member("device", 0, type=tarfile.CHRTYPE),
    ],
    ids=["parent", "inner parent", "symlink", "hard link", "device"],
)
def test_an_archive_that_escapes_its_folder_is_refused_as_a_whole(evil, tmp_path) -> None:
    archive = pack(tmp_path / "a.tar.gz", member("set/one"), evil)
    with pytest.raises(DataError, match=f"{archive} is damaged"):
        extract(archive, tmp_path / "set", ["one"])
    assert files_below(tmp_path) == [archive]


@pytest.mark.parametrize("content", [b"", b"no tar"], ids=["empty", "text"])
def test_a_damaged_archive_is_named(content, tmp_path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=f"{archive} is damaged"):
        extract(archive, tmp_path / "set", ["one"])


def test_a_truncated_archive_leaves_nothing(tmp_path) -> None:
    archive = pack(tmp_path / "a.tar.gz", member("set/one"), member("set/two", 100_000))
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{archive} is damaged"):
        extract(archive, tmp_path / "set", ["one"])
    assert files_below(tmp_path) == [archive]


def test_an_archive_that_lacks_a_file_is_named(tmp_path) -> None:
    archive = pack(tmp_path / "a.tar.gz", member("set/one"))
    with pytest.raises(DataError, match="it lacks two"):
        extract(archive, tmp_path / "set", ["one", "two"])
    assert files_below(tmp_path) == [archive]


def test_data_root_is_absolute_and_takes_any_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_root("a b=é,[1]") == tmp_path / "a b=é,[1]"
    assert data_root("~/data") == tmp_path / "home" / "data"
    assert data_root("~nobody-of-this-name/data") == tmp_path / "~nobody-of-this-name" / "data"

"""Which checkpoint is meant, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.manifest import Manifest, ManifestEntry, is_whole, read_manifest


def write(run: Path, steps: list[int], best: int | None = None) -> list[Path]:
    """A run directory with a file for each step, as a training leaves it."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True)
    entries, paths = [], []
    for step in steps:
        content = f"step {step}".encode() * 50
        digest = hashlib.sha256(content).hexdigest()
        name = f"step-{step:08d}-{digest[:8]}.ckpt"
        (folder / name).write_bytes(content)
        entries.append(ManifestEntry(name, digest, len(content), step))
        paths.append(folder / name)
    names = {entry.step: entry.name for entry in entries}
    manifest = Manifest(tuple(entries), names.get(best), entries[-1].name if entries else None)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return paths


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def test_a_manifest_reads_back(run):
    write(run, [1, 2], best=1)
    manifest = read_manifest(run / "checkpoints")
    assert [entry.step for entry in manifest.files] == [1, 2]
    assert manifest.to_json() == json.loads((run / "checkpoints" / "manifest.json").read_text())


def test_best_and_last_are_found(run):
    one, two, three = write(run, [1, 2, 3], best=2)
    assert locate(run, "best").path == two
    assert locate(run, "last").path == three
    assert locate(run, "last").run == run
    assert locate(one, "best").path == one
    assert locate(one, "best").run == run
    assert locate(run, "last").notes == ()


def test_without_a_best_the_last_is_taken(run):
    write(run, [1, 2])
    assert locate(run, "best").path.name.startswith("step-00000002")


def test_a_damaged_best_is_an_error_that_names_the_others(run):
    one, two, three = write(run, [1, 2, 3], best=2)
    damage(two)
    damage(three)
    with pytest.raises(
        ArtifactError, match=r"step-00000002.* is damaged.*other checkpoints, which are other models"
    ) as caught:
        locate(run, "best")
    assert f"ckpt={one}" in str(caught.value)
    assert f"ckpt={three}" not in str(caught.value), "it is damaged too"
    damage(one)
    with pytest.raises(ArtifactError, match="no other checkpoint is intact"):
        locate(run, "best")


@pytest.mark.parametrize(
    "text", [None, "", "{", '{"schema": 1, "sha256": "0", "best": null, "last": null, "files": []}']
)
def test_without_a_manifest_the_newest_whole_file_can_be_used_by_itself(run, text):
    """Nothing is chosen for the user; what is named works. Negative control: a damaged file is not named."""
    one, two, three = write(run, [1, 2, 3], best=1)
    damage(three)
    manifest = run / "checkpoints" / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    for want in ("best", "last"):
        with pytest.raises(
            ArtifactError, match=f"; the newest intact checkpoint can be used on its own: ckpt={two} or init_from={two}"
        ):
            locate(run, want)
    assert locate(two, "best").path == two
    with pytest.raises(ArtifactError, match="is damaged"):
        locate(three, "best")
    damage(one)
    damage(two)
    with pytest.raises(ArtifactError, match=r"manifest.json") as caught:
        locate(run, "best")
    assert "can be used on its own" not in str(caught.value)


def test_a_damaged_newest_falls_back_and_says_how_much_is_lost(run):
    one, two, three = write(run, [10, 20, 50], best=10)
    damage(three)
    located = locate(run, "last")
    assert located.path == two
    assert "step-00000050" in located.notes[0]
    assert "is damaged" in located.notes[0]
    assert located.notes[1] == f"falling back to {two.name}: 30 steps are lost and will be repeated"
    two.unlink()
    located = locate(run, "last")
    assert located.path == one
    assert "is missing" in located.notes[1]
    assert "40 steps are lost" in located.notes[2]


def test_when_all_are_damaged_each_is_named(run):
    paths = write(run, [1, 2])
    for path in paths:
        damage(path)
    with pytest.raises(ArtifactError) as caught:
        locate(run, "last")
    messages = caught.value.messages
    assert paths[1].name in messages[0]
    assert paths[0].name in messages[1]
    assert "has no intact checkpoint" in messages[2]


def test_a_file_that_travels_alone_proves_itself_by_its_name(run, tmp_path):
    """Negative control: under a name that states nothing, the same bytes are taken."""
    (path,) = write(run, [5])
    alone = path.rename(tmp_path / path.name)
    assert locate(alone, "best").path == alone
    assert locate(alone, "best").run is None
    damage(alone)
    with pytest.raises(ArtifactError, match=r"is damaged: its sha256 differs from the one that was saved"):
        locate(alone, "best")
    renamed = alone.rename(tmp_path / "mine.ckpt")
    assert locate(renamed, "best").path == renamed


@pytest.mark.parametrize(
    "name", ["model-2024.ckpt", "0123abcd.ckpt", "x-0123ABCD.ckpt", "x-0123abcde.ckpt", "x-name.pt"]
)
def test_only_eight_hexadecimal_digits_after_a_dash_are_a_statement(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    assert locate(tmp_path / name, "best").path.name == name


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 10_000])
def test_size_is_checked_before_the_hash(run, content):
    (path,) = write(run, [1], best=1)
    path.write_bytes(content)
    with pytest.raises(
        ArtifactError, match="is empty" if not content else "is damaged: .* bytes, but the manifest says"
    ):
        locate(run, "best")
    assert not is_whole(run / "checkpoints", read_manifest(run / "checkpoints").files[0])


def edit(run: Path, **changes) -> None:
    """Write a manifest by hand, without the hash of itself."""
    path = run / "checkpoints" / "manifest.json"
    value = json.loads(path.read_text()) | changes
    del value["sha256"]
    path.write_text(json.dumps(value))


def test_a_manifest_that_is_not_what_its_hash_says_is_refused(run):
    """Negative control: the same without the hash is read."""
    write(run, [1, 2], best=1)
    path = run / "checkpoints" / "manifest.json"
    damaged = path.read_text().replace('"step": 2', '"step": 3')
    path.write_text(damaged)
    with pytest.raises(
        ArtifactError, match=r"manifest\.json is damaged; the newest intact checkpoint can be used on its own: ckpt="
    ):
        read_manifest(run / "checkpoints")
    edit(run)
    assert read_manifest(run / "checkpoints").files[1].step == 3


def test_a_newer_schema_says_upgrade(run):
    write(run, [1], best=1)
    files = json.loads((run / "checkpoints" / "manifest.json").read_text())["files"]
    edit(run, files=[files[0] | {"schema": 4}])
    with pytest.raises(ArtifactError, match=r"written by a newer nnrun \(schema 4\); upgrade nnrun"):
        locate(run, "best")


@pytest.mark.parametrize("name", ["../x.ckpt", "/etc/passwd", "a/b.ckpt"])
@pytest.mark.parametrize("where", ["best", "last", "files"])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(run, name, where):
    write(run, [1], best=1)
    files = json.loads((run / "checkpoints" / "manifest.json").read_text())["files"]
    edit(run, **{where: [files[0] | {"name": name}] if where == "files" else name})
    with pytest.raises(ArtifactError, match="names a file that is not a checkpoint in its folder"):
        locate(run, "best")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '{"files": 3}', '{"files": [{}], "best": null, "last": null}', "[" * 100_000]
)
def test_a_manifest_of_something_else_is_an_error(run, text):
    write(run, [1])
    (run / "checkpoints" / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        locate(run, "best")


@pytest.mark.parametrize("value", [3, ["x"], {"a": 1}, "step-00000009-aaaaaaaa.ckpt"])
def test_a_best_that_is_none_of_the_files_is_an_error(run, value):
    write(run, [1], best=1)
    edit(run, best=value)
    with pytest.raises(
        ArtifactError, match=r"has no checkpoint yet|names a file that is not a checkpoint in its folder"
    ):
        locate(run, "best")


def test_bytes_that_are_no_text_are_an_error(run):
    write(run, [1])
    (run / "checkpoints" / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        locate(run, "last")


def test_what_is_no_run_is_said_to_be_none(tmp_path, run):
    with pytest.raises(ArtifactError, match=r"run does not exist"):
        locate(run, "best")
    (tmp_path / "mlp_digits").mkdir()
    with pytest.raises(ArtifactError, match="did you mean 'mlp_digits'"):
        locate(tmp_path / "mlp_digit", "best")
    with pytest.raises(ArtifactError, match="is not a run directory: it has no 'checkpoints' folder"):
        locate(tmp_path / "mlp_digits", "best")
    with pytest.raises(ArtifactError, match=r"'checkpoints' folder$"):
        locate(tmp_path, "last")
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="has no checkpoint yet"):
        locate(run, "last")


def test_of_a_folder_of_runs_the_runs_are_named(tmp_path, run):
    """Of a sweep's the jobs, the best first; one without a checkpoint is none to name."""
    write(run, [1])
    for name in ("0_a", "1_b"):
        shutil.copytree(run, tmp_path / "sweep" / name)
    (tmp_path / "sweep" / "2_c").mkdir()
    with pytest.raises(ArtifactError, match=f"it holds runs, name one of them: {run}$"):
        locate(run.parent, "best")
    jobs = [{"directory": f"outputs/multirun/x/{name}"} for name in ("2_c", "1_b", "0_a")]
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"schema": 1, "jobs": jobs}))
    one, other = (tmp_path / "sweep" / name for name in ("1_b", "0_a"))
    (tmp_path / "sweep" / "best").symlink_to("1_b")
    says = (
        f"sweep is the folder of a sweep, not a run directory: name one of its jobs, the best first: {one}, {other}; "
    )
    for want in ("best", "last", "config"):
        with pytest.raises(ArtifactError, match=says):
            locate(tmp_path / "sweep", want)


def test_nothing_that_is_read_is_changed(run):
    paths = write(run, [1, 2], best=1)
    damage(paths[1])
    before = {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
    locate(run, "last")
    locate(run, "best")
    assert {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()} == before

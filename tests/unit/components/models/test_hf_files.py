"""The files of a Hugging Face model, without the library: what is read of a folder, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nnrun.base.errors import ArtifactError, ConfigError, NnrunError, ResourceError
from nnrun.components.models.hf_files import files_of
from nnrun.components.models.hf_images import differences, read_as


def folder(path: Path, card: str = "", processor: dict | None = None, **config: object) -> str:
    """Write a folder with a config and a file of weights, which nothing here opens."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "vit", **config}))
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "README.md").write_text(card)
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(path)


def test_the_revision_of_a_folder_is_its_content(tmp_path: Path) -> None:
    one, same = files_of(folder(tmp_path / "a"), None), files_of(folder(tmp_path / "b"), None)
    other = files_of(folder(tmp_path / "c", hidden_size=3), None)
    assert one.revision == same.revision != other.revision
    assert one.revision.startswith("sha256-")
    assert files_of(str(tmp_path / "a"), one.revision).revision == one.revision
    with pytest.raises(ConfigError, match=r"model\.revision is 'main'; allowed: sha256-"):
        files_of(str(tmp_path / "a"), "main")


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# Net", "mit"),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", "other, my-terms"),
        ("# Net\nlicense: mit\n", None),
        ("---\nlicense:\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_model_card(card: str, licence: str | None, tmp_path: Path) -> None:
    assert files_of(folder(tmp_path / "net", card), None).licence == licence


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda net: (net / "config.json").unlink(), ArtifactError, "has no config.json"),
        (lambda net: (net / "config.json").write_text("{"), ArtifactError, "config.json cannot be read"),
        (lambda net: (net / "config.json").write_text("[]"), ArtifactError, "is not a JSON object"),
        (lambda net: (net / "model.safetensors").unlink(), ArtifactError, "has no model.safetensors"),
        (lambda net: (net / "config.json").write_text('{"auto_map": {"AutoModel": "a.B"}}'), ArtifactError, "a.B"),
    ],
)
def test_what_is_refused(change: object, kind: type[NnrunError], says: str, tmp_path: Path) -> None:
    name = folder(tmp_path / "net")
    change(tmp_path / "net")
    with pytest.raises(kind, match=says):
        files_of(name, None)


PROCESSOR = {"do_resize": True, "size": {"height": 8, "width": 6}, "image_mean": [0.5], "image_std": [0.25]}


@pytest.mark.parametrize(
    ("processor", "size", "scale", "notes"),
    [
        (PROCESSOR, (8, 6), (0.5, 0.25), ["not square"]),
        (PROCESSOR | {"do_normalize": False}, (8, 6), (0.0, 1.0), ["not square"]),
        # Pixels in -1..1: x / 127.5 - 1 is (x / 255 - 0.5) / 0.5.
        (
            PROCESSOR | {"rescale_factor": 1 / 127.5, "image_mean": [1], "image_std": [1]},
            (8, 6),
            (0.5, 0.5),
            ["square"],
        ),
        (PROCESSOR | {"size": {"shortest_edge": 8}, "resample": 3}, (8, 8), (0.5, 0.25), ["bicubic"]),
        (
            PROCESSOR | {"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 8},
            (8, 8),
            (0.5, 0.25),
            ["cuts the margin off"],
        ),
        (PROCESSOR | {"size": 8, "crop_pct": 0.9}, (8, 8), (0.5, 0.25), ["cuts the margin off"]),
        (PROCESSOR | {"size": 8}, (8, 8), (0.5, 0.25), []),
    ],
)
def test_an_image_processor_is_taken_up(
    processor: dict, size: tuple[int, int], scale: tuple[float, float], notes: list[str], tmp_path: Path
) -> None:
    files = files_of(folder(tmp_path / "net", processor=processor), None)
    read = read_as(files)
    assert read is not None
    assert (read.size, read.mean, read.std) == (size, (pytest.approx(scale[0]),), (pytest.approx(scale[1]),))
    said = differences(files)
    assert len(said) == len(notes)
    assert all(note in line for note, line in zip(notes, said, strict=True))


def test_without_an_image_processor_that_is_said(tmp_path: Path) -> None:
    files = files_of(folder(tmp_path / "net"), None)
    assert read_as(files) is None
    assert "has no image processor" in differences(files)[0]


def test_the_hub_is_asked_for_no_code_and_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the library: what it is asked for, and what becomes of its errors."""
    asked: dict[str, object] = {}
    commit = "0123456789" * 4
    folder(tmp_path / commit)

    def snapshot_download(name: str, **more: object) -> str:
        asked.update(more, name=name)
        if name == "owner/away":
            raise ConnectionError("no route")
        return str(tmp_path / commit)

    stand_in, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    for error in ("GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError"):
        setattr(errors, error, type(error, (Exception,), {}))
    stand_in.snapshot_download, stand_in.errors = snapshot_download, errors
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    files = files_of("owner/net", "main")
    assert (files.revision, files.is_local, asked["revision"]) == (commit, False, "main")
    assert not [pattern for pattern in asked["allow_patterns"] if pattern.endswith((".py", ".bin", ".pt", "*"))]
    with pytest.raises(ResourceError, match="cannot be reached") as found:
        files_of("owner/away", None)
    assert "set model.name=FOLDER" in str(found.value.messages[1])

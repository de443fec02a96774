"""Photographs: JPEGs decoded at a part of their size, the same wherever they are read; how they come to a size."""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.overlap import beside_its_start
from nnrun.assembly.prediction.onnx_facts import PREFIX, facts_of
from nnrun.assembly.prediction.onnx_predictor import _conversion
from nnrun.base.errors import ArtifactError
from nnrun.base.targets import Targets
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.components.data.conversion import AS_BEFORE, Conversion
from nnrun.components.data.image_form import Wanted, conversion_of, form_of
from nnrun.components.data.images import ImageKind, decode, decode_sample, from_pillow, read_kind
from nnrun.components.data.normalize import Normalize
from nnrun.components.data.pixels import read_pixels
from nnrun.components.exporters.deployed import ArtifactForm
from nnrun.components.exporters.torchserve import handler_text
from nnrun.components.problems.classification import Classification
from nnrun.config.from_checkpoint import as_meant
from nnrun.core.seams.data import Findings, Split

DRAFT = Conversion(jpeg_draft=True)
SIZE = (60, 60)


def photo(mode: str = "RGB", size: tuple[int, int] = (900, 640), seed: int = 0) -> Image.Image:
    """Colored blobs."""
    draw = torch.Generator().manual_seed(seed)
    small = torch.randint(0, 256, (6, 8, 3), generator=draw, dtype=torch.uint8)
    return Image.fromarray(small.numpy()).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an archive for TorchServe holds, as a module of its own."""
    path = tmp_path_factory.mktemp("mar") / "nnrun_handler.py"
    path.write_text(handler_text())
    spec = importlib.util.spec_from_file_location("nnrun_handler", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "import nnrun" not in path.read_text() and "from nnrun" not in path.read_text()
    return module


def everywhere(content: bytes, path: Path, conversion: Conversion, handler: Any, channels: int = 3) -> torch.Tensor:
    """The pixels of a file as training, prediction and the handler read it, which must be the same."""
    path.write_bytes(content)
    trained_on = decode_sample(path, channels, SIZE, conversion).pixels
    assert torch.equal(decode(path, channels, SIZE, conversion)[1], trained_on)
    assert torch.equal(read_pixels(content, channels, SIZE, conversion), trained_on)
    card = {"in_shape": [channels, *SIZE], "resize": conversion.resize}
    served = handler.ImageClassifier()
    served.card = card | ({"jpeg_draft": "true"} if conversion.jpeg_draft else {})
    assert torch.equal(served._read(content), trained_on)
    return trained_on


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_the_same_everywhere(tmp_path, handler, mode, resize):
    content = jpeg(photo(mode), quality=95)
    drafted = everywhere(content, tmp_path / "a.jpg", Conversion(None, resize, True), handler)
    whole = everywhere(content, tmp_path / "a.jpg", Conversion(None, resize, False), handler)
    assert not torch.equal(drafted, whole), "otherwise nothing is told apart here"
    assert (drafted.float() - whole.float()).abs().mean() < 2, "it is the same picture"
    kind = decode(tmp_path / "a.jpg", 3, SIZE, DRAFT)[0]
    assert (kind.height, kind.width, kind.is_large_jpeg) == (640, 900, True), "its own size is told"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_drafted_jpeg_lies_as_it_is_seen(tmp_path, handler, orientation):
    content = jpeg(photo(), orientation)
    for resize in ("crop", "pad"):
        drafted = everywhere(content, tmp_path / "a.jpg", Conversion(None, resize, True), handler)
        whole = everywhere(content, tmp_path / "a.jpg", Conversion(None, resize), handler)
        assert (drafted.float() - whole.float()).abs().mean() < 2
    kind, seen = decode(tmp_path / "a.jpg", 3, SIZE, DRAFT)[0], read_kind(tmp_path / "a.jpg")
    assert (kind.height, kind.width) == (seen.height, seen.width)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        pytest.param("PNG", SIZE, id="a PNG"),
        pytest.param("small", SIZE, id="a JPEG of 512x512"),
        pytest.param("JPEG", (400, 600), id="a JPEG that is wanted at more than half of its size"),
        pytest.param("JPEG", None, id="a JPEG that is wanted as it is"),
    ],
)
def test_nothing_else_is_decoded_otherwise(tmp_path, content, size):
    file = io.BytesIO(jpeg(photo(size=(512, 512)) if content == "small" else photo()))
    if content == "PNG":
        photo().save(file := io.BytesIO(), "PNG")
    (tmp_path / "a").write_bytes(file.getvalue())
    drafted, whole = (decode(tmp_path / "a", 3, size, how)[1] for how in (DRAFT, AS_BEFORE))
    assert torch.equal(drafted, whole)


def test_a_picture_of_pillows_is_its_owners_and_stays_as_it_is():
    image = Image.open(io.BytesIO(jpeg(photo())))
    pixels = from_pillow(image, 3, SIZE, DRAFT, "x").pixels
    assert image.size == (900, 640)
    assert torch.equal(pixels, read_pixels(jpeg(photo()), 3, SIZE))


def original(content: bytes, path: Path, size: tuple[int, int] | None, conversion: Conversion = DRAFT) -> bytes:
    path.write_bytes(content)
    return decode_sample(path, 3, size, conversion).original


def test_what_stands_for_a_photo_is_the_same_at_every_size_and_whatever_its_metadata(tmp_path):
    path, content = tmp_path / "a.jpg", jpeg(photo())
    expected = original(content, path, SIZE)
    assert {original(content, path, size) for size in (None, (8, 8), (300, 300), (640, 900))} == {expected}
    assert original(jpeg(photo(), 6, comment=b"the same"), path, SIZE) == expected
    assert original(content + b"a picture more", path, SIZE) == expected
    assert original(jpeg(photo(seed=1)), path, SIZE) != expected
    assert original(jpeg(photo(), quality=50), path, SIZE) != expected
    progressive = jpeg(photo(), progressive=True)
    assert original(progressive, path, SIZE) == original(progressive, path, None)


def test_a_small_jpeg_is_known_as_before(tmp_path):
    content = jpeg(photo(size=(300, 200)))
    assert original(content, tmp_path / "a.jpg", SIZE) == original(content, tmp_path / "a.jpg", SIZE, AS_BEFORE)
    content = jpeg(photo())
    assert original(content, tmp_path / "a.jpg", SIZE) != original(content, tmp_path / "a.jpg", SIZE, AS_BEFORE)


def test_a_picture_comes_to_a_size_as_it_is_said():
    # Three columns of 2x2, red, green and blue, in a picture of 6x2.
    image = Image.new("RGB", (6, 2))
    for place, colour in enumerate(("red", "lime", "blue")):
        image.paste(colour, (2 * place, 0, 2 * place + 2, 2))
    image.save(file := io.BytesIO(), "PNG")

    def shown(resize: str) -> list[str]:
        pixels = read_pixels(file.getvalue(), 3, (6, 6), Conversion(None, resize))
        names = {(255, 0, 0): "r", (0, 255, 0): "g", (0, 0, 255): "b", (0, 0, 0): "."}
        columns = pixels.permute(1, 2, 0).tolist()
        return ["".join(names.get(tuple(pixel), "?") for pixel in row) for row in columns]

    assert shown("pad") == ["......"] * 2 + ["rrggbb"] * 2 + ["......"] * 2
    assert shown("stretch") == ["rrggbb"] * 6
    middle = read_pixels(file.getvalue(), 3, (6, 6))
    assert (middle[1] == 255).sum() >= 6 * 4 and middle[0, :, 1:].sum() == middle[2, :, :-1].sum() == 0


def kinds(*sizes: tuple[int, int]) -> Counter[ImageKind]:
    return Counter(ImageKind(*size, "RGB", False) for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "size"),
    [
        pytest.param([(1200, 1600)] * 3 + [(4000, 3000)] * 2, (224, 224), id="photos"),
        pytest.param([(480, 640)], (224, 224), id="photos of one size"),
        pytest.param([(32, 32)], (32, 32), id="CIFAR"),
        pytest.param([(128, 1000)], (128, 1000), id="spectrograms"),
        pytest.param([(224, 224)] * 2 + [(600, 600)], (224, 224), id="most are prepared"),
        pytest.param([(375, 500), (333, 500), (100, 80), (500, 400)], (224, 224), id="from the web"),
        pytest.param([(60, 40), (44, 90), (41, 41), (52, 300)], (44, 44), id="cut out, of many sizes"),
        pytest.param([(100, 150), (150, 100)], (100, 100), id="landscape and portrait"),
    ],
)
def test_auto_brings_pictures_to_the_size_that_most_have_and_never_above_224(sizes, size):
    form = form_of(kinds(*sizes), Wanted("auto", None, "error", "auto"))
    assert (form.height, form.width) == size
    common = form_of(kinds(*sizes), Wanted(None, None, "error", "auto"))
    assert (common.height, common.width) == max(sizes, key=lambda one: (sizes.count(one), one)), "null: as before"


def test_a_trained_network_decides_where_the_size_is_left_open():
    for image_size in ("auto", None):
        assert Wanted(image_size, None, "error", None).for_network((1, 20, 30)).size == (20, 30)
    assert Wanted(64, None, "error", None).for_network((1, 20, 30)).size == (64, 64)


@pytest.mark.parametrize(
    "data",
    [
        {"white": 1023.0, "resize": "pad", "jpeg_draft": True},
        {"white": None, "resize": "crop", "jpeg_draft": True},
        {"white": "auto", "resize": "stretch", "jpeg_draft": False},
        {"white": None},
    ],
)
def test_an_artifact_says_how_files_are_read_and_its_absence_is_how_it_was(data):
    class Context:
        config: ClassVar = {"data": data}
        targets, problem = Targets.classes(["a", "b"]), Classification(Targets.classes(["a", "b"]))
        preprocessing = Normalize([0.5], [0.5])
        example = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
        run_id, score, in_shape = "run", 0.5, None

    written = ArtifactForm(True, "scores").metadata(Context())
    facts = facts_of({f"{PREFIX}{key}": value for key, value in written.items()}, Path("x.onnx"))
    assert _conversion(facts, {}, Path("x.onnx")) == conversion_of(data)
    typed = _conversion(facts, {"resize": "stretch", "white": "auto"}, Path("x.onnx"))
    assert typed == conversion_of(data)._replace(resize="stretch"), "what is typed wins; auto is what the file says"
    assert ("resize" in written, "jpeg_draft" in written) == (
        data.get("resize", "crop") != "crop",
        bool(data.get("jpeg_draft")),
    )
    with pytest.raises(ArtifactError, match=r"x\.onnx is damaged: its resize is 'zoom'; allowed: crop, pad"):
        _conversion(replace(facts, read_as={"resize": "zoom"}), {}, Path("x.onnx"))


def test_a_run_that_starts_from_one_that_knew_photos_otherwise_says_that_it_cannot_tell():
    """The negative control is a start that read them alike, and data without large JPEGs."""
    note = "start read large JPEGs with data.jpeg_draft=false: it is unknown whether it was trained on samples that"
    for before, large, is_said in ((None, 3, True), (False, 3, True), (True, 3, False), (None, 0, False)):
        saved = Mock(spec=SavedRun, path=Path("start"), config={"data": {"jpeg_draft": before}}, seen=None)
        job = Mock(composed=Mock(start=saved), data=Mock(jpeg_draft=True))
        split = Split(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
        data = Opened(split, None, split, Targets.classes(["a", "b"]), Normalize([0.5], [0.5]), (1,))
        data = replace(data, findings=Findings(facts={"large_jpegs": large}))
        said = beside_its_start(job, data).findings.notes
        assert any(one.startswith(note) for one in said) == is_said


def test_a_file_of_an_earlier_version_was_read_without_all_this():
    folder = {"_target_": "nnrun.components.data.folder.Folder", "image_size": None}
    data = as_meant({"data": {"image_size": None, "dataset": folder}})["data"]
    for section in (data, data["dataset"]):
        assert (section["image_size"], section["resize"], section["jpeg_draft"]) == (None, "crop", False)
    now = {"data": {"jpeg_draft": True, "resize": "pad"}}
    assert as_meant(now)["data"]["jpeg_draft"] is True, "what is said is kept"

"""The data report counts what is there, and the sheet shows what the network is given."""

from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image

from nnrun.assembly.data.opened import Opened
from nnrun.base.targets import Targets
from nnrun.components.data.normalize import Normalize, Standardize
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Findings, Split
from nnrun.runs.console import RichConsole
from nnrun.tasks.inspect.batch_picture import to_pixels, write_sheet
from nnrun.tasks.inspect.data_report import data_table, findings_table, report_data

NORMALIZE = Normalize((0.5,), (0.25,))


def split(labels: list[int], seed: int, names: list[str] | None = None) -> Split:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (len(labels), 1, 4, 4), generator=draw, dtype=torch.uint8)
    return Split(images, torch.tensor(labels), names)


@pytest.fixture
def data() -> Opened:
    train, valid, test = split([0, 0, 0, 0, 1], 0, list("abcde")), split([0, 1], 1), split([0, 1, 1], 2)
    train.inputs[4] = train.inputs[0]  # the same, of another class
    test.inputs[2] = train.inputs[1]
    facts = {"skipped": 2, "unlabelled": 0, "sizes": {"4x4": 9, "5x5": 1}}
    return Opened(train, valid, test, Targets.classes(["ant", "b[e]e"]), NORMALIZE, (1, 4, 4), Findings(facts=facts))


def test_counts_by_class_and_part_and_what_is_there_twice(data):
    report = report_data(data)
    assert report.counts["train"] == {"ant": 4, "b[e]e": 1}
    assert report.counts["test"] == {"ant": 1, "b[e]e": 2}
    assert (report.num_repeated, report.contradicting) == (2, 2)
    assert report.repeated == [["a", "e"], ["b", "test 2"]]
    assert report.shared == {"train and valid": 0, "train and test": 1, "valid and test": 0}
    assert json.loads(json.dumps(report.to_json()))["facts"]["skipped"] == 2


def test_the_table_says_it_in_words(data):
    console = RichConsole(width=100, record=True, file=io.StringIO())
    console.print(data_table(report_data(data)))
    console.print(findings_table(report_data(data)))
    text = console.export_text()
    for words in (
        "ant",
        "b[e]e",
        "1 sample in both train and test",
        "a = e",
        "2 unreadable files",
        "4.0 times as many",
    ):
        assert words in text
    assert "in no class folder" not in text, "what was not found is not said"


def batch_of(raw: torch.Tensor, preprocessing) -> Batch:
    count = len(raw)
    return Batch(preprocessing(raw), torch.arange(count) % 2, torch.ones(count), count)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_the_pixels_that_the_network_was_given(tmp_path, channels):
    normalize = Normalize((0.5,) * channels, (0.25,) * channels)
    raw = torch.randint(0, 256, (10, channels, 6, 42), dtype=torch.uint8)
    assert torch.equal(to_pixels(normalize(raw), normalize), raw)
    assert write_sheet(
        tmp_path / "é.png", batch_of(raw, normalize), normalize, Targets.classes(["ant", "猫 of a long name"])
    )
    sheet = Image.open(tmp_path / "é.png")
    assert sheet.mode == "RGB"
    first = torch.tensor([sheet.getpixel((x, y)) for x in (6, 7) for y in (6, 7)])
    assert first.tolist() == [raw[0, :, 0, 0].tolist() * (3 // channels)] * 4, "each pixel is two by two"


def test_floats_of_any_scale_are_stretched_and_what_is_no_picture_is_left(tmp_path):
    values = torch.tensor([[[[-3.0, 5.0], [1.0, 1.0]]]])
    standardize = Standardize((7.0,), (2.0,))
    assert to_pixels(standardize(values), standardize).flatten().tolist() == [0, 255, 128, 128]
    rows = Batch(torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64), torch.ones(3), 3)
    assert not write_sheet(tmp_path / "a.png", rows, NORMALIZE, Targets.classes("ab"))
    assert list(tmp_path.iterdir()) == []


def of_targets(targets: Targets, values: list[list[float]]) -> Opened:
    """Data of two parts, the second of which has the first three targets again."""
    parts = [Split(torch.arange(len(rows))[:, None], torch.tensor(rows)) for rows in (values, values[:3])]
    return Opened(parts[0], None, parts[1], targets, NORMALIZE, {"a": (3, 4, 4), "b": (7,)})


def text_of(data: Opened) -> str:
    console = RichConsole(width=200, record=True, file=io.StringIO())
    console.print(data_table(report_data(data)))
    console.print(findings_table(report_data(data)))
    return console.export_text()


def test_labels_are_counted_each_for_itself_and_in_pairs():
    rows = [[1.0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    data = of_targets(Targets.labels(["cat", "dog", "b[e]e"]), rows)
    report = report_data(data)
    assert report.counts == {"train": {"cat": 3, "dog": 3, "b[e]e": 1}, "test": {"cat": 2, "dog": 3, "b[e]e": 0}}
    assert report.samples == {"train": 5, "test": 3}
    assert report.together == {
        "none": 1,
        "mean": pytest.approx(1.4),
        "most": 2,
        "pairs": [["cat", "dog", 2], ["cat", "b[e]e", 1]],
    }
    text = text_of(data)
    for words in ("label", "cat and dog (2), cat and b[e]e (1)", "1.40 per sample, at most 2; 1 without labels"):
        assert words in text
    assert "a 3x4x4, b 7" in text
    assert "all        5     3" in text


def test_values_are_shown_by_how_they_lie():
    rows = [[float(value), 7.0] for value in (0, 1, 2, 3, 15)]
    data = of_targets(Targets.values(["size", "same"]), rows)
    report = report_data(data)
    assert (report.counts["train"], report.together) == ({}, {})
    assert report.spread["train"]["size"] == {
        "min": 0,
        "mean": pytest.approx(4.2),
        "std": pytest.approx(5.492, abs=1e-3),
        "max": 15,
        "histogram": [1, 1, 1, 1, *[0] * 11, 1],
    }
    assert sum(report.spread["train"]["same"]["histogram"]) == 5
    assert report.spread["test"]["size"]["histogram"] == [1, 1, 1, *[0] * 13]
    json.dumps(report.to_json())
    text = text_of(data)
    assert "0 ████           █ 15" in text
    assert "size 4.2 ± 5.492 (standard deviation) in train" in text
    assert report_data(of_targets(Targets.values(), [[1.0], [2.0], [2.0]])).contradicting == 0


def test_the_same_sample_with_other_values_contradicts():
    data = of_targets(Targets.values(), [[1.0], [2.0], [3.0], [4.0]])
    data.train.inputs[1] = data.train.inputs[0]
    report = report_data(data)
    assert (report.num_repeated, report.contradicting) == (3, 1)


@pytest.mark.parametrize("targets", [Targets.labels(["cat", "dog"]), Targets.values(["x", "y"])])
def test_the_sheet_shows_pictures_of_any_targets_and_among_other_inputs(tmp_path, targets):
    images = torch.randint(0, 256, (4, 1, 6, 6), dtype=torch.uint8)
    batch = Batch({"age": torch.zeros(4, 1), "image": NORMALIZE(images)}, torch.ones(4, 2), torch.ones(4), 4)
    assert write_sheet(tmp_path / "a.png", batch, NORMALIZE, targets)
    assert Image.open(tmp_path / "a.png").getpixel((6, 6)) == (int(images[0, 0, 0, 0]),) * 3

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from nnrun.base.errors import ResourceError
from nnrun.base.shown import Chart, Page, Section, Text
from nnrun.runs.plots import write_plots

HOSTILE = "</text><script>alert(1)</script>"
CURVE = Chart("Loss / valid", "line", [1, 2], {"train": [2, 1], HOSTILE: [1, 2]}, "epoch", "loss", note="Low is good.")
MATRIX = Chart(HOSTILE, "heatmap", ["a", HOSTILE], {"a": [3, 1], HOSTILE: [0, 2]}, HOSTILE, HOSTILE)
PAGE = Page("t", "", [Section("Training", [CURVE, Text("", "no chart")]), Section("Test", [MATRIX])])


@pytest.mark.extras
def test_each_chart_is_a_png_and_an_svg(tmp_path: Path) -> None:
    files = write_plots(PAGE, tmp_path / "plots")
    names = ["01-loss-valid.svg", "01-loss-valid.png", "02-text-script-alert-1-script.svg"]
    assert [path.name for path in files] == [*names, "02-text-script-alert-1-script.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(path.name for path in files)
    for path in files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            continue
        elements = list(ElementTree.parse(path).getroot().iter())
        assert not [element for element in elements if element.tag.endswith("script")]
        texts = "".join(element.text or "" for element in elements)
        assert HOSTILE in texts
        assert "var(--" not in path.read_text()
    assert "Low is good." in files[0].read_text()


def test_without_its_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.base.foreign_errors.find_spec", lambda name: None)
    with pytest.raises(
        ResourceError, match=r"report.plots=true needs .*vl-convert-python.*pip install 'nnrun\[plots\]'"
    ):
        write_plots(PAGE, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()

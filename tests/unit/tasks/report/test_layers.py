"""What a report shows of watched layers, of a profile, and of a metrics.jsonl that is long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnrun.base.shown import Chart, Page, Table, time_text
from nnrun.tasks.report.content import page_of
from nnrun.tasks.report.read import read_run


def page(run: Path, rows: list[dict[str, Any]], best_step: int | None = None) -> Page:
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps({'epoch': 1, **row})}\n" for row in rows))
    (run / "summary.json").write_text(json.dumps({"schema": 4, "best": {"epoch": 1, "step": best_step}}))
    found, faults = page_of(read_run(run, None))
    assert faults == []
    return found


def section(found: Page, heading: str) -> list[Any]:
    return [item for part in found.sections if part.heading == heading for item in part.shown]


def test_of_many_layers_the_most_extreme_are_drawn(tmp_path: Path) -> None:
    def watched(step: int) -> dict[str, Any]:
        gradients = {f"gradients/l{i}": 10.0**-i for i in range(20)}
        updates = {"updates/a": 1e-3, "updates/b": 0.5}
        return {"step": step, "split": "watch", **gradients, **updates, "dead/relu": step / 100, "time/data_ms": 2.0}

    charts = {item.title: item for item in section(page(tmp_path, [watched(1), watched(50)]), "Layers")}
    gradients, updates = charts["Gradient by layer"], charts["Update by layer, relative to the weights"]
    assert list(gradients.series) == ["l0", "l1", "l2", "l3", "l16", "l17", "l18", "l19"]
    assert gradients.note == "Drawn: 8 of 20 layers, those farthest from the others."
    assert (updates.y_scale, updates.series["b"], updates.bands) == ("log", [0.5, 0.5], [("usual, from", "usual, to")])
    assert charts["Dead units by layer"].series == {"relu": [0.01, 0.5]}
    assert "Saturated outputs by layer" not in charts
    # The negative control: without watched rows, there is no section.
    assert section(page(tmp_path, [{"step": 1, "split": "train", "loss": 1.0}]), "Layers") == []


def test_a_profile_is_shown_with_what_the_training_is_bound_by(tmp_path: Path) -> None:
    assert section(page(tmp_path, []), "Profile") == []
    (tmp_path / "profile").mkdir()
    operations = [{"name": f"aten::op{i}", "ms_per_step": 1.5, "share": 0.25, "calls_per_step": 2.0} for i in range(12)]
    content = {"schema": 1, "steps": [6, 8], "advice": "bound by data: use workers", "operations": operations}
    (tmp_path / "profile" / "profile.json").write_text(json.dumps(content))
    advice, table, _ = section(page(tmp_path, []), "Profile")
    assert advice.text == "The training is bound by data: use workers."
    assert isinstance(table, Table)
    assert (len(table.rows), table.rows[0]) == (10, ("aten::op0", "1.500", "25.0%", "2.0"))


def test_a_long_file_of_metrics_is_thinned(tmp_path: Path) -> None:
    rows = [{"step": step, "split": "train", "loss": 1.0} for step in range(1, 10_001)]
    rows += [{"step": step, "split": "valid", "loss": 2.0} for step in (5_003, 10_000)]
    chart, note = section(page(tmp_path, rows, best_step=5_003), "Learning curves")
    assert isinstance(chart, Chart)
    assert 3_000 < len(chart.x) < 4_100
    assert chart.marks == {"best": 0.5003}
    assert note.text == "metrics.jsonl is long: one of 3 rows of the split train is read."


def test_times_are_written_as_people_write_them() -> None:
    assert time_text("2026-11-27T01:14:59+01:00") == "2026-11-27 00:14 UTC"
    assert time_text("yesterday") == "yesterday"

"""Work reports its progress to a display; without a display, nothing is kept."""

from __future__ import annotations

import pytest

from nnrun.base.meter import Meter, clock, meter, shown_by


class Shown:
    """A display that records its calls."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.works: list[Meter] = []

    def begin(self, work: Meter) -> None:
        self.works.append(work)
        self.told.append(f"begin {work.what}")

    def moved(self) -> None:
        self.told.append(f"{self.works[-1].what} {self.works[-1].done}/{self.works[-1].total}")

    def end(self, work: Meter) -> None:
        self.works.remove(work)
        self.told.append(f"end {work.what}")


def test_the_display_is_told_of_work_within_work_however_it_ends() -> None:
    """Negative control: after the block, work is no longer shown."""
    display = Shown()
    with shown_by(display), pytest.raises(ValueError), meter("outer", 3) as advance:
        advance(1)
        with meter("inner") as more:
            more(2, 5)
        raise ValueError
    with meter("unseen", 1) as advance:
        advance(1)
    assert display.told == ["begin outer", "outer 1/3", "begin inner", "inner 2/5", "end inner", "end outer"]


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (
            Meter("decoding", 1000, "samples", done=250, started=0.0),
            "decoding 250/1,000 samples 25 samples/s 0:30 left",
        ),
        (
            Meter("fetching x", 4_000_000, "bytes", done=1_000_000, started=0.0),
            "fetching x 1.0/4.0 MB 0 MB/s 0:30 left",
        ),
        (Meter("fetching x", None, "bytes", done=20_000_000, started=0.0), "fetching x 20.0 MB 2 MB/s"),
        (Meter("exporting to onnx", None, "samples", started=0.0), "exporting to onnx 10 s"),
        (
            Meter("training", 9, "steps", started=0.0, describe=lambda: [(0, "epoch 1"), (1, "step 2")]),
            "epoch 1 step 2",
        ),
    ],
)
def test_what_a_line_says_of_it(work: Meter, expected: str) -> None:
    assert " ".join(text for _, text in work.parts(10.0)) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, "0:00"), (67, "1:07"), (7500, "2:05:00")])
def test_a_time_is_shown_as_a_clock_does(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected

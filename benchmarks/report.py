"""Format the figures as tables, and compare them with the goals."""

from __future__ import annotations

from dataclasses import dataclass
from operator import sub, truediv

import contestants as who
from contest import Outcome, Outcomes, paired


@dataclass(frozen=True)
class Goal:
    """A limit for one figure; `aim` is a stricter, optional limit."""

    what: str
    figure: float | None
    limit: float
    unit: str
    aim: float | None = None
    at_least: bool = False

    def reaches(self, wanted: float) -> bool:
        """Whether the figure is as good as `wanted`."""
        assert self.figure is not None
        return self.figure >= wanted if self.at_least else self.figure <= wanted

    @property
    def verdict(self) -> str:
        """Whether the goal, and the aim if there is one, is reached, in words."""
        if self.figure is None:
            return "not measured"
        if not self.reaches(self.limit):
            return "**not reached**"
        if self.aim is None:
            return "reached"
        return "reached, as is the aim" if self.reaches(self.aim) else "reached, but not the aim"

    @property
    def row(self) -> list[str]:
        """The cells of its row in the table."""
        wanted = f"{'at least' if self.at_least else 'at most'} {self.limit:.2f} {self.unit}"
        aim = "" if self.aim is None else f" (aim {self.aim:.2f})"
        figure = "-" if self.figure is None else f"{self.figure:.2f} {self.unit}"
        return [self.what, wanted + aim, figure, self.verdict]


def goals(speed: Outcomes, startup: Outcomes) -> list[Goal]:
    """Return the goals with the figures of this run."""
    tutorial, times = speed[who.TUTORIAL], "times"
    fp32, bf16 = speed[who.NNRUN_FP32], speed[who.NNRUN_BF16]
    above_bare = paired(startup[who.FIRST_STEP], startup[who.BARE_FIRST_STEP], sub)
    above_lean = paired(startup[who.FIRST_STEP], startup[who.LEAN_FIRST_STEP], sub)
    return [
        Goal("samples/s in fp32 against the tutorial loop", paired(tutorial, fp32, truediv), 1.8, times, 2.5, True),
        Goal("samples/s in bf16 against the tutorial loop", paired(tutorial, bf16, truediv), 2.5, times, 3.5, True),
        Goal("a step in fp32 against the bare step", paired(fp32, speed[who.BARE_FP32], truediv), 1.1, times),
        Goal("a step in bf16 against the bare step", paired(bf16, speed[who.BARE_BF16], truediv), 1.1, times),
        Goal(who.HELP, _median(startup[who.HELP]), 0.1, "s"),
        Goal(who.CONFIG_ERROR, _median(startup[who.CONFIG_ERROR]), 1.0, "s"),
        Goal("the first step, above a bare script", above_bare, 1.0, "s"),
        Goal("the same, above a bare script without torch's compiler", above_lean, 0.25, "s"),
    ]


def speed_table(speed: Outcomes) -> str:
    """Return the table of training speeds, the fastest first."""
    rows = []
    for name, outcome in sorted(speed.items(), key=lambda item: _median(item[1]) or float("inf")):
        if not outcome.ok:
            rows.append([name, _why_not(outcome), "-", "-", "-"])
            continue
        ratio = paired(speed[who.TUTORIAL], outcome, truediv)
        per_second = 1000 * who.BATCH_SIZE / outcome.median
        times = "-" if ratio is None else f"{ratio:.2f}"
        rows.append([name, f"{outcome.median:.1f}", _spread(outcome, 1), f"{per_second:,.0f}", times])
    return table(["", "ms per step", "min to max", "samples/s", "relative to the tutorial loop"], rows)


def startup_table(startup: Outcomes) -> str:
    """Return the table of start-up times."""
    rows = []
    for name, outcome in startup.items():
        figures = [f"{outcome.median:.2f}", _spread(outcome, 2)] if outcome.ok else [_why_not(outcome), "-"]
        rows.append([name, *figures])
    return table(["", "seconds", "min to max"], rows)


def goals_table(rows: list[Goal]) -> str:
    """Return the table of the goals."""
    return table(["", "goal", "measured", ""], [goal.row for goal in rows])


def failures(*groups: Outcomes) -> str:
    """Return the errors of the contestants that failed, as markdown; empty if none did."""
    failed = [(name, outcome.failure) for group in groups for name, outcome in group.items() if outcome.failure]
    return "".join(f"\n{name} failed: {failure}\n" for name, failure in failed)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table with aligned columns."""
    widths = [max(3, *(len(row[column]) for row in [header, *rows])) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, rule, *rows]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _median(outcome: Outcome) -> float | None:
    return outcome.median if outcome.by_round else None


def _spread(outcome: Outcome, digits: int) -> str:
    figures = outcome.by_round.values()
    return f"{min(figures):.{digits}f} to {max(figures):.{digits}f}"


def _why_not(outcome: Outcome) -> str:
    return "failed, see below" if outcome.failure else f"not measured: {outcome.not_measured}"

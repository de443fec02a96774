"""What the page of a comparison shows: tables, curves, settings and metrics, and tests on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nnrun.base.shown import Chart, Gallery, Page, Section, Shown, Table, Text, counted
from nnrun.config.monitor import LOSS
from nnrun.tasks.comparison.columns import columns_of, common_settings, lines_of
from nnrun.tasks.comparison.comparison import Comparison, Verdict
from nnrun.tasks.comparison.differences import title_of, value_text
from nnrun.tasks.comparison.families import Family
from nnrun.tasks.comparison.importance import importance_of
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.rows import by_epoch, rows_of
from nnrun.tasks.comparison.samples import Pair
from nnrun.tasks.comparison.statistics import p_text
from nnrun.tasks.comparison.words import bytes_text, facts_of, seconds_text, signed, state_text

PAGE_NAME = "compare.html"
# With more, curves cannot be told apart; and what is listed of samples.
_MOST_CURVES, _MOST_AXES, _MOST_DRAWN, _MOST_LISTED, _MOST_PICTURES = 12, 8, 200, 200, 24
# Columns of a table beside the number and the path; with more than a few, paths are in a table of their own.
_MOST_COLUMNS, _FEW_COLUMNS = 11, 8
# Epochs in a chart.
_MOST_POINTS = 2_000


def page_of(comparison: Comparison, title: str, command: str, more: Sequence[Section] = ()) -> Page:
    """Return the page of a comparison, with `more` below its table."""
    ranked = comparison.ranked
    by = ", ".join(dict.fromkeys(family.metric for family in ranked.families))
    lead = f"{counted(len(comparison.runs), 'run')}{f', best first by {by}' if by else ''}"
    sections = [Section("Runs", list(_tables(comparison))), *more]
    for family in ranked.families:
        shown = list(_charts(family, comparison))
        name = f": {family.name or family.metric}" if len(ranked.families) > 1 else ""
        if shown:
            sections.append(Section(f"Curves, settings and metrics{name}", shown))
    if tests := list(_tests(comparison)):
        sections.append(Section("On the same test samples", tests))
    if comparison.environment:
        sections.append(Section("Environment", [_environment(comparison)]))
    if comparison.notes:
        sections.append(Section("Notes", [Text("", "\n".join(comparison.notes))]))
    sections.append(Section("Command", [Text("", command, is_code=True)]))
    return Page(title, lead, sections)


def _tables(comparison: Comparison) -> Iterator[Shown]:
    """Yield a table for each family, and one of the runs that are not ranked."""
    for family in comparison.ranked.families:
        yield from _tables_of(family, comparison)
    if entries := comparison.ranked.unranked:
        rows = [
            [
                comparison.names[run],
                state_text(run),
                seconds_text(run.seconds),
                bytes_text(run.num_bytes),
                entry.why or "",
            ]
            for entry in entries
            for run in entry.runs
        ]
        yield Table("Without a result to rank", ["run", "state", "time", "size", "reason"], rows)


def _tables_of(family: Family, comparison: Comparison) -> Iterator[Table]:
    """Yield the table of a family, and if that has many columns, one of the directories of its runs."""
    every = columns_of(family, comparison)
    path, columns = every[0], every[1:]
    # Of equal ones the last is left out first, as on the console.
    by_importance = sorted(columns, key=lambda column: (column.importance, columns.index(column)), reverse=True)
    left_out = by_importance[: max(0, len(columns) - _MOST_COLUMNS)]
    columns = [column for column in columns if column not in left_out]
    lines, is_wide = list(lines_of(family, 1)), len(columns) > _FEW_COLUMNS
    # A path is long: it stands last.
    columns += [] if is_wide else [path]
    rows = [
        [
            line.number,
            *(column.of_run(line.run) if line.is_member else column.of_entry(line.entry) for column in columns),
        ]
        for line in lines
    ]
    direction = "lowest" if family.is_less_better else "highest"
    named = f"{family.name}: " if family.name else ""
    summary = ""
    if any(entry.is_group for entry in family.entries):
        summary = "Runs that differ in the seed alone are one row, with their mean and standard deviation."
    if left_out:
        summary += f" Also in compare.csv: {', '.join(column.title for column in left_out)}."
    titles = ["", *(column.title for column in columns)]
    yield Table(f"{named}{direction} {family.metric} first", titles, rows, summary.strip())
    if is_wide:
        found = [[line.number, path.of_run(line.run)] for line in lines if line.is_member or not line.entry.is_group]
        yield Table(f"{named}directories", ["", "run"], found)


def _charts(family: Family, comparison: Comparison) -> Iterator[Shown]:
    """Yield the curves of a family's best runs, its settings with the metric, and two metrics against each other."""
    best, labels = family.runs[:_MOST_CURVES], _labels(family, comparison)
    rows = {run: list(rows_of(run.path)) for run in best}
    more = len(family.runs) - len(best)
    note = f"The best {len(best)} of {len(family.runs)} runs." if more > 0 else ""
    for name in dict.fromkeys((family.metric, LOSS, "train/loss")):
        split, _, key = name.rpartition("/")
        curves = {labels[run]: by_epoch(rows[run], split, key) for run in best}
        epochs = sorted({epoch for curve in curves.values() for epoch in curve})[:_MOST_POINTS]
        if len(epochs) > 1:
            series = {run: [curve.get(epoch) for epoch in epochs] for run, curve in curves.items() if curve}
            yield Chart(f"{name} by epoch", "line", epochs, series, x_label="epoch", y_label=name, note=note)
    yield from _of_settings(family, comparison, labels)
    yield from importance_of(family, comparison)
    yield from _of_two_metrics(family, labels)


def _labels(family: Family, comparison: Comparison) -> dict[Run, str]:
    """Return a short label for each run in charts: its number in the table, and the settings that differ."""
    runs = family.runs
    keys = common_settings(runs, comparison)[:_MOST_AXES]
    found = {}
    for line in lines_of(family, 1):
        if line.is_member or not line.entry.is_group:
            values = [_setting_in_short(line.run, key) for key in keys]
            found[line.run] = " ".join([line.number, *(values or [line.run.path.name])])
    return found


def _setting_in_short(run: Run, key: str) -> str:
    """Return a setting for a label: the last part of its name and the value; of a class, its name."""
    value = value_text(run, key)
    return value if title_of(key) != key else f"{key.rpartition('.')[2]}={value}"


def _of_settings(family: Family, comparison: Comparison, labels: Mapping[Run, str]) -> Iterator[Chart]:
    """Yield parallel coordinates: an axis for each setting that differs, the last one for the metric."""
    runs = family.runs[:_MOST_DRAWN]
    keys = common_settings(runs, comparison)[:_MOST_AXES]
    if keys and len(runs) > 1:
        axes = [*(title_of(key) for key in keys), family.metric]
        series = {labels[run]: [*(_coordinate(run, key) for key in keys), run.metrics[family.metric]] for run in runs}
        note = f"A line for each run, the best of {len(runs)} the thickest."
        yield Chart("Settings and the metric", "parallel", axes, series, "setting", "run", note=note)


def _coordinate(run: Run, key: str) -> object:
    """Return a setting as a number, or as text."""
    value = (run.settings or {}).get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else value_text(run, key)


def _of_two_metrics(family: Family, labels: Mapping[Run, str]) -> Iterator[Chart]:
    """Yield the metric that ranks against the main metric of the test, or of the validation."""
    headlines = dict.fromkeys(run.headline for run in family.runs if run.headline)
    for name in (f"{split}/{headline}" for headline in headlines for split in ("test", "valid")):
        both = [run for run in family.runs[:_MOST_DRAWN] if name in run.metrics]
        if name != family.metric and len(both) > 1:
            xs = [run.metrics[family.metric] for run in both]
            series = {labels[run]: [run.metrics[name] if other is run else None for other in both] for run in both}
            if len(both) > _MOST_CURVES:
                series = {name: [run.metrics[name] for run in both]}
            yield Chart(f"{name} by {family.metric}", "points", xs, series, x_label=family.metric, y_label=name)
            return


def _tests(comparison: Comparison) -> Iterator[Shown]:
    """Yield the test of two runs in full, or those of the best run against others in a table."""
    verdicts = comparison.verdicts
    if len(verdicts) > 1:
        yield _table_of(verdicts, comparison)
    first = next((verdict for verdict in verdicts if verdict.pair is not None), None)
    for verdict in [first] if first is not None else []:
        pair = verdict.pair
        assert pair is not None, "it was chosen for it"
        yield Table("The best two" if len(verdicts) > 1 else "Two runs", [], facts_of(pair, verdict, comparison))
        if comparison.shows_samples:
            yield from _samples(pair)
    if first is None and verdicts:
        yield Text("", f"There is no paired test: {verdicts[0].why}")


def _table_of(verdicts: Sequence[Verdict], comparison: Comparison) -> Table:
    rows = []
    for verdict in verdicts:
        pair, name = verdict.pair, comparison.names[verdict.second]
        if pair is None:
            rows.append([name, "", "", "", "", verdict.why or ""])
            continue
        tested = pair.tested
        interval = f"{signed(-tested.high)} to {signed(-tested.low)}"
        rows.append([name, signed(-tested.difference), interval, p_text(tested.p), p_text(verdict.p or 0.0), pair.test])
    best = comparison.names[verdicts[0].first]
    titles = ["run", "difference to the best", "95 % interval", "p", "p after Holm", "test"]
    return Table(f"Against the best, {best}", titles, rows)


def _samples(pair: Pair) -> Iterator[Shown]:
    """Yield the samples on which two runs differ, the largest difference first, with their pictures or texts."""
    if not pair.differing:
        return
    pictures = {found.index: pair.pictures[found.index] for found in pair.differing if found.index in pair.pictures}
    if pictures:
        captions = {f.index: f"{f.target}: A {f.first}, B {f.second}" for f in pair.differing if f.index in pictures}
        first = dict(list(captions.items())[:_MOST_PICTURES])
        yield Gallery("Samples on which they differ", "test", first, {index: pictures[index] for index in first})
    shown = pair.differing[:_MOST_LISTED]
    rows = [[f.index, f.name, f.target, f.first, f.second, "A" if f.better == "first" else "B"] for f in shown]
    titles = ["index", "sample", "target", "A", "B", "better"]
    # Those that were among the costliest of one of the runs.
    if texts := [pair.texts.get(f.index, "") for f in shown if pair.texts]:
        rows, titles = [[*row, text] for row, text in zip(rows, texts, strict=True)], [*titles, "contents"]
    more = len(pair.differing) - len(shown)
    summary = f"{counted(more, 'more sample')} in compare_samples.csv." if more else ""
    yield Table("Samples on which they differ, the largest difference first", titles, rows, summary)


def _environment(comparison: Comparison) -> Table:
    """Return what differs in the environments of runs."""
    rows = [
        [comparison.names[run], *(run.environment.get(name, "") for name in comparison.environment)]
        for run in comparison.runs
    ]
    return Table("", ["run", *comparison.environment], rows)

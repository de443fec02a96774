"""`task=lr_find`: a learning-rate range test, with the learning rate that it suggests; nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnrun.assembly.data.announce import tell_of_data
from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.initial_weights import start_from
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import make_step, make_training
from nnrun.base.errors import ConfigError
from nnrun.base.files import write_json
from nnrun.base.meter import meter
from nnrun.base.shown import Chart, Page, Section, Text, counted
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.page import write_page
from nnrun.runs.sheet import Sheet
from nnrun.runs.summary import Summary
from nnrun.tasks.copied_command import command_with
from nnrun.tasks.lr_find.ramp import Ramp, ramp_up
from nnrun.tasks.lr_find.record import LrFindSettings
from nnrun.tasks.lr_find.suggest import Suggestion, suggest
from nnrun.tasks.on_a_copy import as_begun, random_state_kept, uncompiled
from nnrun.tasks.session import Session, fit_to_data, open_session

# Of lr_find.json.
SCHEMA = 1
# The chart leaves out losses above this multiple of the largest smoothed one before the minimum.
_MOST_OF_SMOOTHED = 1.5


def find_rate(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Try rising learning rates on a copy of the network, in a directory of its own; return the summary."""
    job = prepare(uncompiled(composed))
    rates = _rates_of(job)
    console = Console()
    with random_state_kept(), open_session(job, words, directory, console) as session:
        data = open_for(job)
        job = fit_to_data(job, data, session)
        tell_of_data(data, job.data, job.settings.loss, console, trains=True)
        ramp = _try_rates(job, data, rates["lr"], session)
        settings = job.settings_of(LrFindSettings)
        found = suggest(ramp.rates, ramp.smoothed, settings.steps, diverged=ramp.diverged)
        command = None
        if found.rate is not None:
            changes = {f"optimizer.{name}": _short(found.rate * value / rates["lr"]) for name, value in rates.items()}
            adds = job.reading() if job.settings.ckpt is not None else ""
            command = command_with(words, changes, job.task.name, job.composed.secrets, adds=adds)
        report = _as_json(ramp, found, command)
        # First of all what was asked for: a full disk must not hide it.
        show(ramp, found, command, console)
        write_json(session.out.path / "lr_find.json", report, SCHEMA)
        page = session.out.path / "lr_find.html"
        write_page(_page(job, ramp, found, command), page)
        console.say(f"the curve: {page}")
        summary = summarize(job, found, session)
        session.report(summary)
        console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")
    return summary


def _rates_of(job: Job) -> dict[str, float]:
    """Return the learning rates of the optimizer's config: `lr`, and others, such as `adamw_lr`, which follow it."""
    section = job.settings.optimizer
    rates = {
        name: float(value)
        for name, value in section.items()
        if (name == "lr" or name.endswith("_lr")) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    if rates.get("lr", 0) <= 0:
        raise ConfigError(f"task={job.task.name} needs an optimizer with a setting lr above 0; this one has none")
    return {"lr": rates.pop("lr"), **{name: value for name, value in rates.items() if value > 0}}


def _try_rates(job: Job, data: Opened, base: float, session: Session) -> Ramp:
    """Build the training, and make its first updates with rising learning rates."""
    objective = make_objective(job, data)
    training = make_training(job, data, objective)
    for note in training.notes:
        session.console.say(note)
    start_from(as_begun(job), training.state, session.console, data.targets)
    settings = job.settings_of(LrFindSettings)
    session.console.say(
        f"trying {counted(settings.steps, 'learning rate')} from {settings.min:g} to {settings.max:g}, one step each"
    )
    step = make_step(job.settings.trainer, training.state, objective)
    with meter("trying learning rates", settings.steps, "steps") as advance:

        def after_step() -> None:
            advance(1)
            session.stop.poll()

        return ramp_up(training, step, settings, base, after_step)


def _short(rate: float) -> str:
    """Return a learning rate with two significant digits."""
    return f"{float(f'{rate:.2g}'):g}"


def _as_json(ramp: Ramp, found: Suggestion, command: str | None) -> dict[str, Any]:
    """Return the test and its suggestions as plain values."""
    return {
        "lr": ramp.rates,
        "loss": [loss if abs(loss) < float("inf") else str(loss) for loss in ramp.losses],
        "smoothed_loss": [loss if abs(loss) < float("inf") else str(loss) for loss in ramp.smoothed],
        "diverged": ramp.diverged,
        "suggestions": found.rates,
        "recommended": found.recommended,
        "recommended_lr": found.rate,
        "why": found.why,
        "command": command,
    }


def _page(job: Job, ramp: Ramp, found: Suggestion, command: str | None) -> Page:
    """Return the page: the curve with its marks, and the command."""
    # What follows the minimum would hide the descent.
    lowest = min(range(len(ramp.smoothed)), key=ramp.smoothed.__getitem__)
    before = max(ramp.smoothed[: lowest + 1])
    most = before + (_MOST_OF_SMOOTHED - 1) * abs(before)
    chart = Chart(
        title="Loss against learning rate",
        kind="line",
        x=ramp.rates,
        series={
            "smoothed loss": [loss if loss <= most else None for loss in ramp.smoothed],
            "loss": [loss if loss <= most else None for loss in ramp.losses],
        },
        x_label="learning rate",
        y_label="loss",
        x_scale="log",
        marks={f"{name} {_short(rate)}": rate for name, rate in found.rates.items()},
        note="The learning rate rises with every step. Good ones are in the middle of the descent, before the minimum.",
    )
    texts = [Text("", _in_words(found))]
    if command is not None:
        texts.append(Text("Train with it", command, is_code=True))
    return Page(
        f"Learning rate of {job.name}",
        f"{counted(len(ramp.rates), 'step')} from {ramp.rates[0]:.2g} to {ramp.rates[-1]:.2g}"
        + (", where the loss diverged" if ramp.diverged else ""),
        [Section("Learning rate", [chart, *texts])],
    )


def _in_words(found: Suggestion) -> str:
    """Return the recommendation as a sentence."""
    if found.recommended is None:
        return f"no suggestion: {found.why}"
    assert found.rate is not None
    return f"recommended: {_short(found.rate)} ({found.recommended}): {found.why}"


def show(ramp: Ramp, found: Suggestion, command: str | None, console: Console) -> None:
    """Print the suggestions, the recommendation and the command."""
    if ramp.diverged:
        console.say(f"the loss diverged at a learning rate of {ramp.rates[-1]:.2g}, after {len(ramp.rates)} steps")
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for name, rate in found.rates.items():
        table.add_row(name, _short(rate))
    if found.rates:
        console.table(table)
    if command is None:
        console.note(_in_words(found))
    else:
        console.say(_in_words(found))
        console.say(f"train with it: {command}")


def summarize(job: Job, found: Suggestion, session: Session) -> Summary:
    """Return the summary, with the suggested learning rates as its metrics."""
    metrics = {f"lr_find/{name}": rate for name, rate in found.rates.items()}
    return Summary(
        task=job.task.name,
        state="finished",
        run=str(session.out.path),
        metrics=metrics | ({"lr_find/lr": found.rate} if found.rate is not None else {}),
        monitor=job.monitor,
        mode=job.mode,
        wall_seconds=session.out.seconds(),
    )

"""`task=batch_find`: the largest batch that fits, and the fastest; nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.assembly.data.announce import tell_of_data
from nnrun.assembly.data.batch_size import small_batch
from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.initial_weights import start_from
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import make_step, make_training
from nnrun.base.errors import OutOfMemory
from nnrun.base.files import write_json
from nnrun.base.meter import meter
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.runs.summary import Summary
from nnrun.tasks.batch_find.record import BatchFindSettings
from nnrun.tasks.batch_find.sizes import CLOSE, FIRST, Size, Trial, Tried
from nnrun.tasks.copied_command import command_with
from nnrun.tasks.lr_find.record import TASK as RATE_TEST
from nnrun.tasks.on_a_copy import as_begun, random_state_kept, uncompiled
from nnrun.tasks.session import Session, fit_to_data, open_session, with_chosen

# Of batch_find.json.
SCHEMA = 1
# The timed steps of each size for data.batch_size=auto.
_STEPS_OF_AUTO = 5


def find_batch(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Time steps with batches of doubling size, in a directory of its own; return the summary.

    Raises OutOfMemory where not even a batch of one sample fits.
    """
    job = prepare(uncompiled(composed))
    console = Console()
    with random_state_kept(), open_session(job, words, directory, console) as session:
        data = open_for(job)
        job = fit_to_data(job, data, session)
        tell_of_data(data, job.data, job.settings.loss, console, trains=True)
        settings = job.settings_of(BatchFindSettings)
        found = _try_sizes(job, data, session, settings.max, settings.steps)
        if (fastest := found.fastest) is None:
            raise OutOfMemory(f"out of memory on {job.device} with a single sample", "a smaller network")
        adds = job.reading() if job.settings.ckpt is not None else ""
        changes = {"data.batch_size": fastest.batch_size}
        command = command_with(words, changes, job.task.name, job.composed.secrets, adds=adds)
        show(found, fastest, command, console)
        write_json(session.out.path / "batch_find.json", {**found.to_json(), "command": command}, SCHEMA)
        summary = Summary(
            task=job.task.name,
            state="finished",
            run=str(session.out.path),
            metrics={"batch_find/fastest": fastest.batch_size, "batch_find/largest": found.largest},
            monitor=job.monitor,
            mode=job.mode,
            wall_seconds=session.out.seconds(),
        )
        session.report(summary)
        console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")
    return summary


def chosen_batch(job: Job, data: Opened, session: Session) -> Job:
    """Return the job with the recommended number for data.batch_size=auto, and say it.

    It leaves several updates in each epoch. Nothing that the training depends on is changed.
    """
    settings = job.settings
    most = small_batch(len(data.train))
    # Speed and memory do not depend on the weights, whose file can be read only once.
    probe = replace(settings, transfer=replace(settings.transfer, weights=None))
    composed = replace(job.composed, source=None)
    with random_state_kept():
        found = _try_sizes(replace(job, settings=probe, composed=composed), data, session, most, _STEPS_OF_AUTO)
    if (fastest := found.fastest) is None:
        raise OutOfMemory(f"out of memory on {job.device} with a single sample", "a smaller network")
    speed = f"{fastest.samples_per_second:,.0f} samples/s"
    session.console.note(f"data.batch_size=auto is {fastest.batch_size:,} ({speed}; {found.largest:,} fits)")
    return with_chosen(job, session, job.composed.with_data(batch_size=fastest.batch_size))


def _try_sizes(job: Job, data: Opened, session: Session, most: int | None, num_steps: int) -> Tried:
    """Build the training, and time its steps with batches of several sizes."""
    job = replace(job, settings=replace(job.settings, data=replace(job.settings.data, batch_size=FIRST)))
    objective = make_objective(job, data)
    training = make_training(job, data, objective)
    start_from(as_begun(job), training.state, session.console, data.targets)
    step = make_step(job.settings.trainer, training.state, objective)
    with meter("trying batch sizes", unit="sizes") as advance:

        def after_size() -> None:
            advance(1)
            session.stop.poll()

        return Trial(training, step, after_size).sizes_up_to(most, num_steps)


def show(found: Tried, fastest: Size, command: str, console: Console) -> None:
    """Print the sizes, the largest and the fastest, and the command."""
    table = Sheet(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("batch", "samples/s", "ms a step", "memory"):
        table.add_column(title, justify="right")
    for size in sorted(found.sizes, key=lambda size: size.batch_size):
        if size.samples_per_second is None or size.step_seconds is None:
            table.add_row(f"{size.batch_size:,}", "does not fit", "", "")
            continue
        memory = f"{size.memory_bytes / 1e6:,.0f} MB" if size.memory_bytes is not None else ""
        table.add_row(
            f"{size.batch_size:,}", f"{size.samples_per_second:,.0f}", f"{size.step_seconds * 1e3:,.1f}", memory
        )
    console.table(table)
    console.say(f"largest batch: {found.largest:,}, limited by {found.limit}")
    console.say(
        f"recommended: {fastest.batch_size:,}, the smallest within {CLOSE:.0%} of the most samples/s: smaller batches "
        "make more updates in the same time"
    )
    console.say(f"train with it: {command}")
    console.say(f"another batch size needs another learning rate: nnrun task={RATE_TEST.name} finds one")

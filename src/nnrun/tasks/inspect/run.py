"""`task=inspect`: inspect the data and the network of a config; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.assembly.data.announce import tell_of_data
from nnrun.assembly.data.checks import OtherThanClaimed
from nnrun.assembly.data.opened import Opened, open_data
from nnrun.assembly.data.overlap import note_on_data
from nnrun.assembly.job import Job
from nnrun.assembly.network import load_trained
from nnrun.assembly.preflight import prepare
from nnrun.assembly.pretrained_input import normalised_as_trained
from nnrun.base.errors import ArtifactError, DataError
from nnrun.base.files import write_json
from nnrun.checkpoints.saved_run import SavedNetwork
from nnrun.config.composed import Composed
from nnrun.core.device import Precision
from nnrun.core.seams.data import Evaluation
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.inspect.batch_picture import write_sheet
from nnrun.tasks.inspect.column_effects import effects_in, rows_of, show_effects
from nnrun.tasks.inspect.data_report import DataReport, columns_table, data_table, findings_table, report_data
from nnrun.tasks.inspect.examine import NetworkReport, examine
from nnrun.tasks.inspect.record import InspectSettings
from nnrun.tasks.inspect.tables import layer_table, network_table
from nnrun.tasks.session import Session, fit_to_data, open_session

# Of inspect.json.
SCHEMA = 1


def inspect(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Inspect the data and the network of a config, in a directory of its own; return the summary.

    Raises DataError for data that a run would refuse, after the report on it if it can be read at all, ArtifactError
    if a check of the network fails, and what a run raises.
    """
    job = prepare(uncompiled(composed))
    if job.precision.scales_gradients:
        # Loss scaling starts so high that the first step usually overflows.
        job = replace(job, precision=Precision("fp32", "gradients of a first step in fp16 usually overflow"))
    console = Console()
    with open_session(job, words, directory, console) as session:
        data, fault = open_with_faults(job)
        data = normalised_as_trained(job, data)
        tell_of_data(data, job.data, job.settings.loss, console, trains=True)
        if note := note_on_data(job, data):
            console.note(note)
        described = report_data(data)
        if fault is not None or _is_about_data(composed):
            console.table(data_table(described))
            console.say("")
            if columns := columns_table(described):
                console.table(columns)
                console.say(
                    "rows by bin, the last for empty cells; PSI: the difference from train, below 0.1 alike", "dim"
                )
                console.say("")
            console.table(findings_table(described))
            console.say("")
        if fault is not None:
            write_json(session.out.path / "inspect.json", {"ok": False, "data": described.to_json()}, SCHEMA)
            raise fault
        if _prepares_otherwise(job, data):
            data = _as_trained(job)
        job = fit_to_data(job, data, session)
        rows = rows_of(job, data, session)
        trained = load_trained(job, data, job.composed.evaluated) if job.composed.evaluated else None
        report = examine(job, data, session, trained)
        effects = effects_in(job, rows, trained, session) if trained and rows else None
        found = {**report.to_json(), "data": described.to_json(), "column_effects": effects}
        write_json(session.out.path / "inspect.json", found, SCHEMA)
        summary = summarize(job, report, session)
        show(job, report, described, data, console)
        if effects:
            show_effects(effects, console)
        draw(report, data, session)
        summary.write(session.out.path)
        console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")
        if not report.ok:
            raise ArtifactError(*report.complaints(), f"all findings are in {session.out.path}/inspect.json")
    return summary


def uncompiled(composed: Composed) -> Composed:
    """Return the config without compilation, so that the layers can be measured."""
    config = composed.config.copy()
    config.trainer.compile = False
    return replace(composed, config=config)


def open_with_faults(job: Job) -> tuple[Opened, DataError | None]:
    """Return the data, and the error for which a run would refuse it, or None: the readable files are still reported.

    Raises DataError if nothing can be reported.
    """
    settings = job.data
    try:
        return open_data(settings, checks_batch=not job.lowers_batch), None
    except OtherThanClaimed:
        return _as_trained(job), None
    except DataError as error:
        dataset = settings.dataset | ({"on_bad": "skip"} if "on_bad" in settings.dataset else {})
        try:
            return open_data(replace(settings, dataset=dataset), checks_batch=False), error
        except DataError:
            raise error from None


def _prepares_otherwise(job: Job, data: Opened) -> bool:
    """Return whether data is prepared by what it shows itself, such as its own categories, not as in the training."""
    saved = job.composed.evaluated
    return isinstance(saved, SavedNetwork) and data.preprocessing.to_plain() != saved.preprocessing


def _as_trained(job: Job) -> Opened:
    """Return data of which a trained network would learn other facts than it has: prepared as its training's was."""
    saved = job.composed.evaluated
    evaluation = Evaluation(saved.targets, False, saved.preprocessing) if isinstance(saved, SavedNetwork) else None
    return open_data(job.data, checks_batch=not job.lowers_batch, evaluation=evaluation)


def _is_about_data(composed: Composed) -> bool:
    """Return whether the command line sets the data, so that its report is shown in full."""
    return any(item.key.partition(".")[0] == "data" for item in composed.typed)


def summarize(job: Job, report: NetworkReport, session: Session) -> Summary:
    """Return the summary, with the network's figures as its metrics."""
    root = report.cost.root
    return Summary(
        task=job.task.name,
        state="finished" if report.ok else "failed",
        run=str(session.out.path),
        metrics={
            "model/parameters": root.parameters,
            "model/trainable_parameters": root.trainable,
            "model/forward_flops": report.cost.forward_flops / report.batch_size,
            "model/step_bytes": report.memory.total,
        },
        monitor=job.monitor,
        mode=job.mode,
        wall_seconds=session.out.seconds(),
    )


def show(job: Job, report: NetworkReport, described: DataReport, data: Opened, console: Console) -> None:
    """Print the tree of layers, and the findings."""
    table, deepest = layer_table(report.cost.root, report.batch_size, job.settings_of(InspectSettings).depth)
    console.table(table)
    if deepest is not None:
        console.say(f"deeper layers are not shown; inspect.depth={deepest} shows them all", style="dim")
    console.say("")
    found = network_table(report)
    sizes = ", ".join(f"{number:,} {part}" for part, number in described.samples.items())
    found.add_row("data", f"{job.settings.data.name}, {sizes} samples of {data.targets}")
    console.table(found)


def draw(report: NetworkReport, data: Opened, session: Session) -> None:
    """Write a picture of the batch that the network received, if it consists of images, and say where."""
    path = session.out.path / "batch.png"
    if write_sheet(path, report.batch, report.preprocessing, data.targets):
        session.console.say(f"the first batch, as the network sees it: {path}")

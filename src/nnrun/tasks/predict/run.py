"""`task=predict`: predict for images or texts with a trained network, and write the predictions to a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnrun.assembly.data.scales import scale_fault, some_of
from nnrun.assembly.job import Job
from nnrun.assembly.loaded import load_for
from nnrun.assembly.prediction.array_files import holds_array, read_images
from nnrun.assembly.prediction.given import image_shape
from nnrun.assembly.prediction.image_rows import rows_of_images
from nnrun.assembly.prediction.input_files import FROM_STDIN, InputFiles, find_inputs
from nnrun.assembly.prediction.onnx_predictor import predictor_of_artifact
from nnrun.assembly.prediction.predictor import Predictor, predictor_of
from nnrun.assembly.prediction.raw_images import Intake, Samples, of_files, of_tree
from nnrun.assembly.prediction.tables import batches_of_rows, rows_of_file, title_of_ids
from nnrun.assembly.prediction.texts import find_texts, of_texts, tokens_of
from nnrun.assembly.preflight import prepare
from nnrun.base.errors import ConfigError, DataError
from nnrun.base.meter import meter
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.targets import Kind
from nnrun.checkpoints.saved_run import SavedNetwork
from nnrun.components.data.conversion import HOW_READ
from nnrun.components.data.tally import Tally
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.runs.summary import Summary
from nnrun.tasks.predict.record import PredictSettings
from nnrun.tasks.predict.table import FILE_NAME, PredictionFile, file_id
from nnrun.tasks.session import Session, open_session

# Maximum number of different answers shown on the terminal.
_NUM_SHOWN = 5
# A file name with more digits does not count as a number.
_MAX_DIGITS = 19


class BadFiles:
    """Unreadable files: the first one ends the prediction, or each is named and skipped."""

    def __init__(self, on_bad: str, console: Console) -> None:
        self._on_bad = on_bad
        self._console = console
        self.count = 0

    def refuse(self, error: DataError) -> None:
        """Raise the error, or report and count it."""
        if self._on_bad == "error":
            way = f"no {FILE_NAME} is written; use data.on_bad=skip to skip unreadable files"
            raise DataError(*error.messages, way) from error
        self.count += 1
        self._console.note(f"skipped: {error}")


@dataclass(frozen=True)
class Source:
    """The images, texts or rows of a table to predict for, in batches, their number, what names one, and what it is.

    `cut` counts the texts of more than `max_length` tokens, once they were read.
    """

    batches: Generator[Samples, None, None]
    num_samples: int
    title: str = "path"
    noun: str = "image"
    max_length: int = 0
    cut: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Result:
    """The number of predicted samples, the counts of each answer (except for values), and the time taken."""

    number: int
    kind: Kind
    counts: Counter[str]
    seconds: float
    noun: str = "image"


@dataclass(kw_only=True)
class PredictionSummary(Summary):
    """The summary of a prediction, with the numbers of predicted and skipped samples and the speed."""

    predicted: int = 0
    skipped: int = 0
    samples_per_second: float = 0.0


def predict(composed: Composed, words: Sequence[str], directory: Path | None = None) -> PredictionSummary:
    """Predict for the images or texts of `input=` with the network of `ckpt=`; return the summary.

    The run has a directory of its own.
    """
    job = prepare(as_predicted_with(composed))
    console = Console()
    with open_session(job, words, directory, console) as session:
        bad = BadFiles(job.settings.data.on_bad, console)
        with closing(open_predictor(job)) as predictor:
            tally = Tally(predictor.conversion.white)
            source = (
                open_texts(job, predictor)
                or open_rows(job, predictor)
                or open_image_rows(job, predictor, bad, tally)
                or open_files(job, predictor, bad, tally, console)
            )
            result = write_predictions(job, session, predictor, source)
            for note in tally.notes():
                console.note(note)
            if num_cut := source.cut["texts"]:
                texts = counted(result.number, "text")
                console.note(
                    f"cut {num_cut:,} of {texts} to {source.max_length} tokens, the most that the network takes"
                )
        summary = PredictionSummary(
            task=job.task.name,
            state="finished",
            run=str(session.out.path),
            metrics={},
            monitor=job.monitor,
            mode=job.mode,
            wall_seconds=session.out.seconds(),
            predicted=result.number,
            skipped=bad.count,
            samples_per_second=result.number / result.seconds,
        )
        summary.write(session.out.path)
        show(summary, result, console)
    return summary


def as_predicted_with(composed: Composed) -> Composed:
    """Return the config as a prediction uses it."""
    config = composed.config.copy()
    config.early_stopping = None
    config.trainer.compile = False
    if composed.artifact is not None:
        # The artifact is the network, and runs on the CPU.
        config.model = {}
        if composed.named("trainer.device") and config.trainer.device not in ("auto", "cpu"):
            raise ConfigError(
                f"trainer.device={config.trainer.device} has no effect: nnrun runs an ONNX file on the CPU; leave it "
                "out, or use the run that the file was exported from"
            )
        config.trainer.device = "cpu"
    return replace(composed, config=config)


def open_predictor(job: Job) -> Predictor:
    """Return the predictor of the run or the artifact."""
    artifact, saved = job.composed.artifact, job.composed.evaluated
    if artifact is not None:
        # The file defines what is not set here.
        named = {key: getattr(job.settings.data, key) for key in HOW_READ if job.composed.named(f"data.{key}")}
        return predictor_of_artifact(artifact, job.settings.trust, named)
    assert isinstance(saved, SavedNetwork), "the task's record needs ckpt=, and refuses weights alone"
    channels_last = job.settings.trainer.channels_last
    return predictor_of(load_for(job, saved), job.device, channels_last=channels_last, precision=job.precision)


def open_texts(job: Job, predictor: Predictor) -> Source | None:
    """Return the texts of `input=` for a network of texts; None for another network."""
    tokens = tokens_of(predictor.preprocessing)
    if tokens is None:
        return None
    check_id(job, "texts")
    found = find_texts(job.settings.input or "", job.settings.data.text)
    cut: Counter[str] = Counter()
    batches = of_texts(found.texts, tokens, job.settings.data.eval_batch_size, found.names, cut)
    return Source(batches, len(found.texts), found.title, "text", tokens.max_length, cut)


def open_rows(job: Job, predictor: Predictor) -> Source | None:
    """Return the rows of the table `input=` for a network of tables; None for another network."""
    if not predictor.columns:
        return None
    if job.settings.input == FROM_STDIN:
        raise DataError("input=- lists image files; for this network, name a table")
    rows, takes = rows_of_file(job.settings.input or ""), predictor.takes_columns
    batches = batches_of_rows(rows, predictor.columns, job.settings.data.eval_batch_size, takes_given=takes)
    return Source(batches, rows.frame.height, title_of_ids(rows, predictor.columns), "row")


def open_image_rows(job: Job, predictor: Predictor, bad: BadFiles, tally: Tally) -> Source | None:
    """Return the images in the rows of `input=`; None where it names files of images."""
    rows = (
        None if job.settings.input == FROM_STDIN else rows_of_images(job.settings.input or "", job.settings.data.image)
    )
    if rows is None:
        return None
    check_id(job, "images in rows")
    in_shape = image_shape(predictor.in_shape, predictor.preprocessing)
    intake = Intake(in_shape, job.settings.data.eval_batch_size, predictor.conversion)
    return Source(rows.batches(intake, bad.refuse, tally, in_processes=True), sum(rows.counts), "row")


def check_id(job: Job, called: str) -> None:
    """Raise ConfigError where the ids of predictions would be names of files, which the samples do not have."""
    settings = job.settings_of(PredictSettings)
    if settings.format == "kaggle" and settings.id != "number":
        raise ConfigError(f"predict.id={settings.id} names image files; for {called}, use predict.id=number")


def open_files(job: Job, predictor: Predictor, bad: BadFiles, tally: Tally, console: Console) -> Source:
    """Return the images of the files that `input=` names."""
    named = find_inputs(job.settings.input or "")
    for note in named.notes:
        console.note(note)
    source = open_source(job, named, predictor, bad, tally)
    for note in numbered_otherwise(job, named.files):
        console.note(note)
    return source


def open_source(job: Job, named: InputFiles, predictor: Predictor, bad: BadFiles, tally: Tally) -> Source:
    """Return the images of all files, or of a single file that contains many."""
    files, batch_size = named.files, job.settings.data.eval_batch_size
    in_shape = image_shape(predictor.in_shape, predictor.preprocessing)
    if job.settings.input != FROM_STDIN and len(files) == 1 and holds_array(Path(files[0])):
        pixels = read_images(Path(files[0]), in_shape)
        if fault := scale_fault(predictor.preprocessing, some_of(pixels)):
            raise DataError(f"{shown(files[0])} is on a different scale from the training data: {fault}")
        return Source(of_tree(files[0], pixels, batch_size), len(pixels))
    settings = job.settings_of(PredictSettings)
    if settings.format == "kaggle" and settings.id != "number":
        check_ids(files, settings.id)
    intake = Intake(in_shape, batch_size, predictor.conversion)
    return Source(of_files(files, intake, bad.refuse, tally, in_processes=True), len(files))


def check_ids(files: Sequence[str], form: str) -> None:
    """Raise DataError if two files would have the same id."""
    seen: dict[str, str] = {}
    for file in files:
        earlier = seen.setdefault(file_id(file, form), file)
        if earlier is not file:
            raise DataError(f"{shown(earlier)} and {shown(file)} would have the same id; use predict.id=number")


def numbered_otherwise(job: Job, files: Sequence[str]) -> list[str]:
    """Return a note if Kaggle's ids are counted from 1, but the files are named differently."""
    settings = job.settings_of(PredictSettings)
    if (settings.format, settings.id) != ("kaggle", "number"):
        return []
    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(stems) or (len(files) == 1 and holds_array(Path(files[0]))):
        return []
    number = next((number for number, stem in enumerate(stems, 1) if not _is_number(stem, number)), None)
    if number is None:
        return []
    return [
        f"the ids are counted from 1, in the order of the files: {shown(Path(files[number - 1]).name)} gets the id "
        f"{number}; use predict.id=stem to take the file names as ids, or predict.id=name to keep their suffix"
    ]


def _is_number(stem: str, number: int) -> bool:
    """Return whether a file is named by this number."""
    return stem.isdecimal() and len(stem) < _MAX_DIGITS and int(stem) == number


def write_predictions(job: Job, session: Session, predictor: Predictor, source: Source) -> Result:
    """Write predictions.csv, completely or not at all."""
    settings, console = job.settings_of(PredictSettings), session.console
    targets = predictor.problem.targets
    if settings.top_k is not None and predictor.problem.columns(settings.top_k) == predictor.problem.columns():
        raise ConfigError(f"predict.top_k={settings.top_k} has no effect: predictions of {targets} are not ranked")
    if settings.top_k is not None and settings.top_k > targets.num_outputs:
        console.note(f"predict.top_k={settings.top_k}, but there are only {targets}: all are listed")
    number, counts = 0, Counter[str]()
    start = time.perf_counter()
    with (
        meter("predicting", source.num_samples) as advance,
        closing(source.batches) as batches,
        PredictionFile(session.out.path, settings, predictor.problem, source.title) as file,
    ):
        for samples in batches:
            session.stop.poll()
            predictions = predictor.predict(samples)
            file.add(samples, predictions)
            if predictor.problem.has_probabilities:
                counts.update(predictor.problem.answers(predictions))
            number += len(samples.names)
            advance(len(samples.names))
        if not number:
            total = source.num_samples
            unread = "the only file cannot be read" if total == 1 else f"none of {total:,} files can be read"
            raise DataError(f"{unread}; no {FILE_NAME} is written")
        file.commit()
    if file.num_quoted:
        console.note(
            f"put ' before {counted(file.num_quoted, 'cell')} of {FILE_NAME} that a spreadsheet would evaluate"
        )
    return Result(number, targets.kind, counts, time.perf_counter() - start, source.noun)


def show(summary: PredictionSummary, result: Result, console: Console) -> None:
    """Print the result, and where the predictions are."""
    console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    table.add_row(
        "predicted", f"{counted(summary.predicted, result.noun)}, {summary.samples_per_second:,.0f} samples/s"
    )
    if summary.skipped:
        table.add_row("skipped", counted(summary.skipped, "unreadable file"), style="red")
    if result.counts:
        more = "  ..." if len(result.counts) > _NUM_SHOWN else ""
        often = "  ".join(f"{name or 'none'} ({count:,})" for name, count in result.counts.most_common(_NUM_SHOWN))
        table.add_row(result.kind, often + more)
    console.table(table, path=("predictions", f"{summary.run}/{FILE_NAME}"))

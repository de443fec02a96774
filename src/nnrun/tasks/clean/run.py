"""`task=clean`: show which runs would be deleted and what that frees, and delete them on request. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError, InterruptedRun, ResourceError, tell_reached
from nnrun.base.shown import counted
from nnrun.base.signals import stop_request
from nnrun.config.composed import Composed
from nnrun.config.schema import from_mapping
from nnrun.runs.console import Console
from nnrun.tasks.clean.delete import delete_run, leftovers, remove_leftover, why_kept
from nnrun.tasks.clean.keep import Plan, plan
from nnrun.tasks.clean.record import TASK, CleanSettings
from nnrun.tasks.comparison.chosen import read_runs
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.words import bytes_text, figure


@dataclass
class Cleaned:
    """What was deleted, or would be, and what was kept and why."""

    is_done: bool
    deleted: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    freed_bytes: int = 0
    state: str = "finished"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; what only would be deleted has another name than what was."""
        return {
            "task": TASK.name,
            "state": self.state,
            "deleted" if self.is_done else "would_delete": self.deleted,
            "kept": self.kept,
            "freed_bytes" if self.is_done else "would_free_bytes": self.freed_bytes,
        }


def clean(composed: Composed, _words: Sequence[str], _directory: Path | None = None) -> Cleaned:
    """Show which of the runs that `runs=` names would be deleted; delete them with clean.yes=true.

    Raises ResourceError if a run could not be deleted, after all others were.
    """
    tree, console = composed.resolved(), Console()
    settings, text = from_mapping(CleanSettings, tree[TASK.name]), str(tree["runs"])
    if settings.keep is None:
        raise ConfigError("task=clean needs clean.keep=: which runs to keep, such as best:3 or newest:5")
    runs, notes = read_runs(text)
    # Without a status, a directory may be anything.
    without = [(run, why) for run in runs if not run.has_status and (why := why_kept(run))]
    chosen = plan([run for run in runs if run.has_status], settings.keep, composed.rules.known.metrics)
    for note in (*notes, *chosen.notes):
        console.note(note)
    done = Cleaned(settings.yes)
    doomed = _spared(chosen, done)
    done.kept += [_plain(run, why) for run, why in without]
    old = leftovers(runs)
    if not doomed and not old:
        if not chosen.why_none:
            _show_kept(done, console)
        console.say(f"nothing to delete: {_kept_in_words(done, chosen)}", style="bold")
        return done
    _show(doomed, old, done, console, is_done=settings.yes)
    if not settings.yes:
        done.deleted = [_plain(run, None) for run in doomed]
        done.freed_bytes = sum(run.num_bytes for run in doomed)
        console.say("nothing was deleted; to delete them, repeat the command with clean.yes=true")
        return done
    return _delete(doomed, old, done, console)


def _spared(chosen: Plan, done: Cleaned) -> list[Run]:
    """Return the runs to delete, without those that must stay; record all that stay, with the reasons."""
    doomed = []
    for run in chosen.doomed:
        why = why_kept(run)
        if why is None:
            doomed.append(run)
        else:
            done.kept.append(_plain(run, why))
    done.kept = [*(_plain(run, why) for run, why in chosen.kept), *done.kept]
    return doomed


def _plain(run: Run, why: str | None) -> dict[str, Any]:
    found = {"directory": str(run.path), "state": run.state, "size_bytes": run.num_bytes, "started": run.started}
    return found if why is None else {**found, "why": why}


def _show_kept(done: Cleaned, console: Console) -> None:
    """Print what stays, and why."""
    for item in done.kept:
        console.say(f"keep    {item['directory']}  {bytes_text(item['size_bytes'])}: {item['why']}")


def _show(doomed: Sequence[Run], old: Sequence[Path], done: Cleaned, console: Console, *, is_done: bool) -> None:
    """Print what stays and what goes, each with its size."""
    _show_kept(done, console)
    verb = "delete" if is_done else "would delete"
    for run in doomed:
        value = f"  {run.monitor} {figure(run, run.monitor)}" if run.monitor in run.metrics and run.monitor else ""
        console.say(f"{verb}  {run.path}  {bytes_text(run.num_bytes)}  {run.state}{value}")
    for path in old:
        console.say(f"{verb}  {path}, left by a deletion that was stopped")
    total = bytes_text(sum(run.num_bytes for run in doomed))
    if not is_done:
        console.say(f"{counted(len(doomed), 'run')} would be deleted, {total}", style="bold")


def _delete(doomed: Sequence[Run], old: Sequence[Path], done: Cleaned, console: Console) -> Cleaned:
    """Delete runs, one after the other; a signal stops between two of them."""
    failures: list[str] = []
    with stop_request() as stop:
        try:
            with stop.deferred():
                for path in old:
                    stop.poll()
                    remove_leftover(path)
                for run in doomed:
                    stop.poll()
                    try:
                        delete_run(run)
                    except (OSError, ResourceError) as error:
                        failures.append(f"{run.path} was not deleted: {getattr(error, 'strerror', None) or error}")
                        continue
                    done.deleted.append(_plain(run, None))
                    done.freed_bytes += run.num_bytes
        except KeyboardInterrupt as error:
            done.state = "interrupted"
            said = (
                f"stopped after {counted(len(done.deleted), 'run')}, {bytes_text(done.freed_bytes)}; repeat the command"
            )
            stopped = InterruptedRun(getattr(error, "exit_code", 130) - 128, said)
            tell_reached(stopped, done.to_json())
            raise stopped from None
    console.say(f"deleted {counted(len(done.deleted), 'run')}: {bytes_text(done.freed_bytes)} freed", style="bold")
    if failures:
        failure = ResourceError(*failures)
        done.state = "failed"
        tell_reached(failure, done.to_json())
        raise failure
    return done


def _kept_in_words(done: Cleaned, chosen: Plan) -> str:
    """Return why nothing is deleted."""
    return chosen.why_none or f"{counted(len(done.kept), 'run')} kept"

"""The launcher of processes, from the settings of a sweep."""

from __future__ import annotations

from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.workers.launcher import Wishes, Workers
from nnrun.sweeps.workers.slots import Needs, Slots, choose_slots


def side_by_side(setup: LaunchSetup) -> Workers:
    """Return a launcher that runs jobs in processes of this machine."""
    settings = setup.settings

    def choose() -> Slots:
        trainers = setup.trainers()
        return choose_slots(settings.parallel, settings.jobs_per_device, Needs.of(setup.num_jobs(), trainers))

    wishes = Wishes(setup.own, settings.job_minutes, setup.awaits)
    return Workers(choose, wishes, setup.console.note)

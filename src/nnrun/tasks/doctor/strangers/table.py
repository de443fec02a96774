"""All hostile files by name."""

from __future__ import annotations

from nnrun.tasks.doctor.strangers.configs import CONFIGS
from nnrun.tasks.doctor.strangers.formats import FORMATS
from nnrun.tasks.doctor.strangers.kind import Hostile
from nnrun.tasks.doctor.strangers.manifests import MANIFESTS
from nnrun.tasks.doctor.strangers.pickles import PICKLES
from nnrun.tasks.doctor.strangers.states import STATES
from nnrun.tasks.doctor.strangers.tensors import TENSORS
from nnrun.tasks.doctor.strangers.zips import ZIPS

FILES: dict[str, Hostile] = {**PICKLES, **FORMATS, **ZIPS, **TENSORS, **CONFIGS, **STATES, **MANIFESTS}

"""All hostile files by name."""

from __future__ import annotations

from nnrun.doctor.strangers.configs import CONFIGS
from nnrun.doctor.strangers.formats import FORMATS
from nnrun.doctor.strangers.kind import Hostile
from nnrun.doctor.strangers.manifests import MANIFESTS
from nnrun.doctor.strangers.pickles import PICKLES
from nnrun.doctor.strangers.states import STATES
from nnrun.doctor.strangers.tensors import TENSORS
from nnrun.doctor.strangers.zips import ZIPS

FILES: dict[str, Hostile] = {**PICKLES, **FORMATS, **ZIPS, **TENSORS, **CONFIGS, **STATES, **MANIFESTS}

"""All hostile files by name."""

from __future__ import annotations

from campaigns.strangers.configs import CONFIGS
from campaigns.strangers.formats import FORMATS
from campaigns.strangers.kind import Hostile
from campaigns.strangers.manifests import MANIFESTS
from campaigns.strangers.pickles import PICKLES
from campaigns.strangers.states import STATES
from campaigns.strangers.tensors import TENSORS
from campaigns.strangers.zips import ZIPS

FILES: dict[str, Hostile] = {**PICKLES, **FORMATS, **ZIPS, **TENSORS, **CONFIGS, **STATES, **MANIFESTS}

"""One command from YAML to a trained, proven, deployable network."""

from __future__ import annotations

# As typing has it, which takes a while to import: what comes first of all must not take long.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

__version__ = "0.3.0"


def load(path: str | Path, trust: Sequence[str] = ()) -> nn.Module:
    """Return the trained network of a run directory, a checkpoint file or exported safetensors, in eval mode.

    The network has two attributes besides its own: `class_names`, a tuple of texts, and `preprocessing`, which turns
    raw samples, uint8 `(N, C, H, W)` for images, into the float input of the network. `trust` names modules of your
    own that the checkpoint may take its class from. Raises ArtifactError where the checkpoint is damaged or refused.
    """
    from pathlib import Path  # noqa: PLC0415 - see above

    from nnrun.assembly.network import load_network  # noqa: PLC0415 - importing nnrun must not import torch

    return load_network(Path(path), trust)

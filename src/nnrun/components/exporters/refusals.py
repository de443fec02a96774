"""What a format cannot express: networks whose path depends on the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nnrun.base.foreign_errors import causes_of
from nnrun.core.seams.export import CannotExport

# What torch says of such a network, in the words of its several parts.
_SIGNS = ("data-dependent", "data dependent", "guardondatadependent", "dynamic control flow")


def cannot_follow(format_name: str) -> CannotExport:
    """Return the refusal of a network whose path depends on the data."""
    others = (
        "export=safetensors"
        if format_name in ("torchscript", "torchserve")
        else "export=torchscript (by script) or safetensors"
    )
    return CannotExport(f"the network's path depends on the data, which {format_name} cannot express; {others} can")


@contextmanager
def refusing(format_name: str) -> Iterator[None]:
    """Turn what torch makes of a network whose path depends on the data into a CannotExport of one line."""
    try:
        yield
    except Exception as error:
        texts = [f"{type(cause).__name__}: {cause}".lower() for cause in causes_of(error)]
        if any(sign in text for text in texts for sign in _SIGNS):
            raise cannot_follow(format_name) from error
        raise

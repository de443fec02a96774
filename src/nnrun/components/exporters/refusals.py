"""The error for networks that a format cannot express: those with data-dependent control flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nnrun.base.foreign_errors import causes_of
from nnrun.core.seams.export import CannotExport

# How torch's error messages describe such networks.
_SIGNS = (
    *("data-dependent", "data dependent", "guardondatadependent", "dynamic control flow"),
    *("your code specialized it", "inferred a static shape"),  # a loop over the length of a sequence
)


def cannot_follow(format_name: str) -> CannotExport:
    """Return the error for a network with data-dependent control flow."""
    others = (
        "export=safetensors"
        if format_name in ("torchscript", "torchserve")
        else "export=torchscript (by script) or safetensors"
    )
    return CannotExport(
        f"the network has data-dependent control flow, which {format_name} cannot express; use {others}"
    )


@contextmanager
def refusing(format_name: str) -> Iterator[None]:
    """Turn torch's errors about data-dependent control flow into a CannotExport of one line."""
    try:
        yield
    except Exception as error:
        texts = [f"{type(cause).__name__}: {cause}".lower() for cause in causes_of(error)]
        if any(sign in text for text in texts for sign in _SIGNS):
            raise cannot_follow(format_name) from error
        raise

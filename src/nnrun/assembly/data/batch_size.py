"""The maximum and the recommended batch size for a number of training samples."""

from __future__ import annotations

from nnrun.base.errors import DataError
from nnrun.base.shown import counted

# Minimum number of batches in an epoch of a training split that is smaller than the wanted batch.
_LEAST_BATCHES = 4


def small_batch(num_samples: int) -> int:
    """Return the recommended batch size, a power of 2, for a training split that is smaller than the wanted batch.

    It leaves several updates per epoch: with only one, early stopping would end the run after a few updates.
    """
    return min(num_samples, max(2, 2 ** (num_samples // _LEAST_BATCHES).bit_length() // 2))


def check_batch(batch_size: int, num_samples: int, *, is_upper_bound: bool = False) -> None:
    """Raise DataError where a batch is larger than the training split, given its size or an upper bound of it."""
    if batch_size > num_samples > 0:  # an empty split is another error
        raise DataError(
            f"data.batch_size={batch_size} is larger than the training split, which has "
            f"{'at most ' if is_upper_bound else ''}{counted(num_samples, 'sample')}; use "
            f"data.batch_size={small_batch(num_samples)} or less"
        )

"""The maximum and the recommended batch size for a number of training samples."""

from __future__ import annotations

from nnrun.base.errors import DataError

# Minimum number of batches in an epoch of a training split that is smaller than the wanted batch.
_LEAST_BATCHES = 4


def small_batch(num_samples: int) -> int:
    """Return a batch size, a power of 2, for fewer samples than the wanted batch has, so that an epoch has some steps.

    With a single update an epoch early stopping would end the run after a handful of them.
    """
    return min(num_samples, max(2, 2 ** (num_samples // _LEAST_BATCHES).bit_length() // 2))


def check_batch(batch_size: int, num_samples: int, *, is_upper_bound: bool = False) -> None:
    """Raise DataError where a batch is larger than the training split, given its size or an upper bound of it."""
    if batch_size > num_samples > 0:  # an empty split is another error
        raise DataError(
            f"data.batch_size={batch_size} is larger than the training split, which has "
            f"{'at most ' if is_upper_bound else ''}{num_samples:,} samples; use "
            f"data.batch_size={small_batch(num_samples)} or less"
        )

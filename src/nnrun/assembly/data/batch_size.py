"""How large a batch may be, and how large one should be, by the samples there are to train on."""

from __future__ import annotations

from nnrun.base.errors import DataError

# In an epoch of a training split that is smaller than the batch asked for.
_LEAST_BATCHES = 4


def small_batch(num_samples: int) -> int:
    """Return a size of batches for fewer samples than a batch was to have: a power of 2, for some updates an epoch.

    With a single update an epoch early stopping would end the run after a handful of them.
    """
    return min(num_samples, max(2, 2 ** (num_samples // _LEAST_BATCHES).bit_length() // 2))


def check_batch(batch_size: int, num_samples: int, *, is_upper_bound: bool = False) -> None:
    """Raise DataError where a batch is larger than the training split; of that, its size or an upper bound is known."""
    if batch_size > num_samples > 0:  # of none, more is to be said than that
        raise DataError(
            f"data.batch_size={batch_size} is larger than the training split, which has "
            f"{'at most ' if is_upper_bound else ''}{num_samples:,} samples; use "
            f"data.batch_size={small_batch(num_samples)} or less"
        )

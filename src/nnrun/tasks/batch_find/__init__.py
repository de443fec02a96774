"""`task=batch_find`: the largest batch that fits into memory, and the one with the most samples per second."""

"""The training core: the step path (loop, step, state, batches), what it stands on, and the seams."""

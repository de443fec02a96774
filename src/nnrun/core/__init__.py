"""The training core: the step path (loop, step, state, batches), its foundations, and the seams."""

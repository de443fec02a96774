"""Train parts of a network: which is its head, what is frozen when, and the cached features of what is."""

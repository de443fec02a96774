"""Train parts of a network: which layer is its head, what is frozen when, and cached features of the frozen layers."""

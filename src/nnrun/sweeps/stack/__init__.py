"""Jobs of a sweep whose networks have one shape, trained together: one forward and one backward pass for all."""

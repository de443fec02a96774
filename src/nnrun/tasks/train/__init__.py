"""Train, evaluate and export: a run from its config to its report."""

"""Networks on disk: manifests, checkpoints read safely, model cards, foreign weights, the latest run."""

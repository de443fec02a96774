"""What is on disk of a network: manifests, checkpoints read safely, model cards, foreign weights, the latest run."""

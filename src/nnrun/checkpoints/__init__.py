"""What is on disk of a network: manifests, checkpoint files read safely, model cards, and weights from elsewhere."""

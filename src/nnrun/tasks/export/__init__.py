"""Export a trained network, and verify the artifacts."""

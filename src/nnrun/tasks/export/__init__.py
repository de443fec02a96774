"""Export a trained network, and prove what was exported."""

"""From raw inputs to predictions, by a checkpoint or an artifact."""

"""From raw inputs to predictions, with a checkpoint or an exported artifact."""

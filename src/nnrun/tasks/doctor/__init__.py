"""What works on this machine, and campaigns against what nnrun promises: `task=doctor` runs them short."""

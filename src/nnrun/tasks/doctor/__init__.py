"""What works on this machine, and on its disk: `task=doctor`."""

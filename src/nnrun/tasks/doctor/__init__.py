"""`task=doctor`: check what works on this machine and its disk."""

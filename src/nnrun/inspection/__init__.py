"""task=inspect: what a network costs and whether it can learn, and what the data holds."""

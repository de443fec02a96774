"""Look at a network and its data before it is trained."""

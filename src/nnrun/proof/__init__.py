"""Verification: run an artifact and the network that it was made of on the same samples, and compare."""

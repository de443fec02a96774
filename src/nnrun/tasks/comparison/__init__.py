"""Runs read from their directories without torch: found, ranked, grouped, tested against each other."""

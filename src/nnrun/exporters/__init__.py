"""Artifacts and their proof: one file each."""

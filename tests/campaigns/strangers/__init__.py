"""Hostile files: what a stranger may hand over as a checkpoint. A table for each subject."""

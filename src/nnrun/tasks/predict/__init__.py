"""Predict for files, and write a table."""

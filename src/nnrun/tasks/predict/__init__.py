"""Predict for images, and write a table."""

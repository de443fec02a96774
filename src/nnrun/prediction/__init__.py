"""Classify images with a trained network: `task=predict`."""

"""Exporters: write a trained network in a format that other programs read. One file per format, and shared code."""

"""Exporters: a trained network in a format that other programs take, one format a file, and what formats share."""

"""Data sources, one file each, and what finds, decodes, measures and keeps their samples."""

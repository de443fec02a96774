"""Data sources, one file each, and the code that finds, decodes, measures and stores their samples."""

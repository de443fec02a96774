"""`nnrun init DIR`: a small project of one's own, which runs as it stands."""

"""`nnrun init DIR`: a small project of your own, which runs as is."""

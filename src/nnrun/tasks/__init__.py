"""The tasks that nnrun can run, a folder for each."""

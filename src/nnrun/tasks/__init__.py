"""What can be asked of nnrun, a folder for each task."""

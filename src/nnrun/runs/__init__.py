"""The output of a run: its directory, its environment, its summary, its pages, and the console."""

"""The output of a run: its directory, its environment, its summary, and the console."""

"""What a run leaves and says: its directory, its environment, its summary, and the console."""

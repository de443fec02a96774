"""What everything stands on, of the standard library alone: errors, files, signals, secrets, and the host."""

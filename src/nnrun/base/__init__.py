"""What everything stands on, of the standard library alone: errors, files, paths, signals, secrets, host, targets."""

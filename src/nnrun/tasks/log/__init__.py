"""Send a finished run to loggers."""

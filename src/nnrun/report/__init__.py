"""What a person sees: the console, the tables, the summary."""

"""Many runs: the combinations of values, one job each, and their table."""

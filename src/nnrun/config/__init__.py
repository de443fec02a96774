"""From the command line to a checked config: schema, overrides, options, interpolation, checks. Needs no torch."""

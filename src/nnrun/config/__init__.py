"""From words to a checked config: schema, folders, overrides, options, interpolation, checks. Needs no torch."""

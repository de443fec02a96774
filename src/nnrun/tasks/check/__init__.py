"""`task=check`: whether what runs have saved is still what they wrote."""

"""Learning rate schedules that torch does not have: one file each."""

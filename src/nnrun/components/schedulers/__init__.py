"""Learning rate schedules that torch has not: one file each."""

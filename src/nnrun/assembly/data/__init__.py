"""The data of a run: open it, compare it with the data that a network was trained on, measure and describe it."""

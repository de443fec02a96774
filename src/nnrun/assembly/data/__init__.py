"""The data of a run: opened, held against what a network was trained on, measured, and described."""

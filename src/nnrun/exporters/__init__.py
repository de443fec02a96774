"""Artifacts and their proof: one file each."""

from pathlib import Path

# The script that runs an artifact in a process of its own.
RUNNER = Path(__file__).parent / "runner.py"
# What an artifact of torch's says of itself, as a file in it.
METADATA_NAME = "nnrun.json"

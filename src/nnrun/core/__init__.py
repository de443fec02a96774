"""The training core: torch and the standard library, nothing else."""

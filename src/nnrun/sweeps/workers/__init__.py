"""Jobs of a sweep in processes of their own, forked from one that has imported torch."""

"""A training in several processes: how many, how they are started, how they meet, and what becomes of each."""

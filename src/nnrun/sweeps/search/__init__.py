"""Searches of a sweep: the space that is searched, what proposes jobs, what ends bad ones early."""

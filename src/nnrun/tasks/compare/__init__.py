"""`task=compare`: a table of runs, best first, and compare.html."""

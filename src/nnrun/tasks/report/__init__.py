"""The report on a run: report.html and MODEL_CARD.md, made from the run directory alone."""

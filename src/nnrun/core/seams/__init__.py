"""The seams: what the core requires of data, problems, schedules, callbacks, loggers and exporters, and nothing more.

Users' classes import their names from `nnrun.api`. Our own modules import each from its file.
"""

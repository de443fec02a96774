"""Plug-ins, one a file, in a folder for each group of conf/; they arrive through their `_target_`."""

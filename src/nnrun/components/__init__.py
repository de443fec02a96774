"""Plug-ins, one per file, in a folder for each group of conf/; they are loaded through their `_target_`."""

"""Campaigns against what nnrun promises: kills, signals, failing disks, damage, and hostile files."""

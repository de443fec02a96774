"""Losses, one file each, and the weights of classes, which they share."""

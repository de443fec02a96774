"""Losses, one file each, and the class weights that they share."""

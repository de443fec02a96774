"""Augmentations and mixings: what `augment.NAME._target_` names."""

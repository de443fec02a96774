"""Augmentations, and mixing of samples: the classes that `augment.NAME._target_` names."""

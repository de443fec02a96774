"""`task=replay`: run one training step again and name the layer in which NaN, infinity or a spike begins."""

"""What happens around the training steps: one file per callback."""

"""An artifact against the network that it was made of: both on the same samples, and what was found."""

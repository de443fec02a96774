"""`task=lr_find`: a learning-rate range test on a copy of the network, and the learning rates that it suggests."""

"""Build objects from a checked config: allowed targets, the data, the network, its training, and predictors."""

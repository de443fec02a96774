"""A checked config becomes objects: what may be built, the data, the network, what trains it, and a predictor."""

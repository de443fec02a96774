"""The parts of `make gpu`: what only a GPU shows, each in a process of its own, with a time limit of its own."""

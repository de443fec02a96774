"""The parts of `make gpu`: what only a GPU can show, each in its own process with its own time limit."""

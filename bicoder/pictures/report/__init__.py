"""One page about a run, in one file: what it is, what it is worth, and its model to play with."""

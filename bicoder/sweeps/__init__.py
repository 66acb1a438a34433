"""Many trainings: which they are, what is done of them already, and the processes that do the rest; without Keras."""

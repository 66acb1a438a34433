"""How a step runs: batches, slices of a batch, compiled programs, random numbers, memory."""

"""A training on the disk: its folder, config, weights, checkpoints, and the training itself."""

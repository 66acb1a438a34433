"""What a command can be told: one table of options, and the kinds of values that they have."""

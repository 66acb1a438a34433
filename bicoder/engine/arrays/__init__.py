"""Arrays in memory: trees of them, what they must hold, and how they are walked a few MB at a time."""

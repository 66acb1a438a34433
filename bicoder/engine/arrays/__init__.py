"""Arrays in memory: where they begin, and how they are walked a few MB at a time."""

"""Images that stay in files: where they come from, a copy that is quickly read, and an array of what is in it."""

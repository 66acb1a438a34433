"""Images in [0, 1], from wherever they are."""

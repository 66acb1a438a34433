"""Packs: images in shards, with a list of them that says what they are."""

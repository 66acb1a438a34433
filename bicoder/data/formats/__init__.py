"""Bytes of strangers: archives, arrays, pickles and folders of images, read without running anything."""

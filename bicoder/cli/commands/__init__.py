"""The commands of `bicoder`, one a file; a file that is here is found by itself."""

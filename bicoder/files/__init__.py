"""One file, whole or not at all: writing, records, locks, downloads and their cache."""

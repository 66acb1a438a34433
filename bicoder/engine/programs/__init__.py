"""Many steps as one compiled program, and what such a program depends on."""

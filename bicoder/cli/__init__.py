"""What is typed: the commands and their options."""

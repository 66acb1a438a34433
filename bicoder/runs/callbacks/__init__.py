"""What happens while a training runs: what it says, what stops it."""

"""What people look at: one picture, one function."""

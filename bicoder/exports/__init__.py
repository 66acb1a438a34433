"""Files that other programs run: a function of tensors in a format of others, which its own runtime has run first."""

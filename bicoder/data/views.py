"""The versions of `mnist_color`, whose names are known before anything large is imported."""

VIEWS = ("m0", "m1", "m2", "m3", "m4")

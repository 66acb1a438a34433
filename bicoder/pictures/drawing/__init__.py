"""Arrays as pictures: nothing here knows a model."""

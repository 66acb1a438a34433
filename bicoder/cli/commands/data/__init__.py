"""Commands about images, which need no model."""

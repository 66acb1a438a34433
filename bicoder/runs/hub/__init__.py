"""A run in the layout of model hubs: its weights, its config.json, and a model card."""

"""Trainings on several hosts: how they find each other, that they are alike, and how they end together."""

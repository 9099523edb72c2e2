"""Evaluation: searches over data sets, what they found on disk, and how far it can be believed."""

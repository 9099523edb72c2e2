"""Searches from the images of a run, to see whether the method is consistent."""

"""Pairs of images that any tool made."""

"""Benchmarks of cfgen's own speed and memory: commands, not tests."""

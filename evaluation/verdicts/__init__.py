"""Verdicts of counterfactuals: calibrated on phantoms, given to the samples of a run."""

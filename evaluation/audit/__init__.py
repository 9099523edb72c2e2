"""The audit of a classifier, from many of its counterfactuals."""

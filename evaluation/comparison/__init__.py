"""Evaluated runs side by side: columns, paired differences, the Pareto front."""

"""`cfgen explain`: one image, its counterfactual, and how far to believe it."""

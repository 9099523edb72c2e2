"""The study: every method, control, ablation and classifier side by side, with targets."""

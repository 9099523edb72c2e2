"""Training: a LightningModule and a main for each model of a bundle."""

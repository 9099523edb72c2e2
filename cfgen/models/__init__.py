"""The networks: classifiers, autoencoders, and the bundles that hold them."""

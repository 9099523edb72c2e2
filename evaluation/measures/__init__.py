"""What is measured of the images of a run, of each and of all together."""

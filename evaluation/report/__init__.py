"""A run as one page: what was found, how far to believe it, what failed, every case to look at."""

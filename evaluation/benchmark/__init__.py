"""The benchmark on phantoms, whose truth is known."""

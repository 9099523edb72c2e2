"""A blinded reader study: the set, the form, the sealed key, the scores."""

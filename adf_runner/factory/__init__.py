"""A factory as values: what its files may hold (subset, shapes), how they are read (reading) and what they say (model)."""

"""Pages of docs/ that are made, not written: the table of roles and the picture of the architecture."""

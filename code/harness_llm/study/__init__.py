"""Studies: points that are measured several times over the same engines; reports are made from files."""

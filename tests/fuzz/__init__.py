"""Random inputs at every border of the product, each made from a seed, with what must come of it."""

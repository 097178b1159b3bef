"""Mistakes planted in the code by mutmut, one by one: the tests of a room must notice them."""

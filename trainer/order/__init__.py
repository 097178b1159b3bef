"""Integers only, no TensorFlow: which rows an update uses, how they are cut, and which shapes must be compiled."""

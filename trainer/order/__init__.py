"""Integers only: which rows an update uses, how they are cut, and which shapes that compiles. No TensorFlow here."""

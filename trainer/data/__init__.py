"""Prepared data on a worker: from the bytes of a store to rows by number, and proof that they are the right ones."""

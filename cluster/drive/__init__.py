"""A study driven from its spec to its verdict: opened, trained, stopped in order, and compacted."""

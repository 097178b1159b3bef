"""Driving a study from its spec to its verdict: it is opened, trained, stopped in order and compacted."""

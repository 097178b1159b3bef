"""Whole studies: noted, copied, moved, renamed, merged and deleted, beside readers and drivers."""

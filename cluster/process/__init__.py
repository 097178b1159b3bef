"""The running process itself: its signals, deadlines, temporary folders and proxies, and its Ray."""

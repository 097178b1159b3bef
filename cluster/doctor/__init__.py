"""`batchscope doctor`: whether a machine, its store and its cluster can do a study's work, before it costs anything."""

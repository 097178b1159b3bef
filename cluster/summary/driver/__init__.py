"""One driver a study: the lock of a folder, and the lease in a bucket."""

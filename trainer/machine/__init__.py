"""The machine under a worker: its devices, and its memory."""

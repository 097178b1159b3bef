"""The service that runs on every machine: Python without packages, put there by the machine's user data."""

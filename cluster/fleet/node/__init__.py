"""What runs on every machine as a service of the system: Python without packages, put there by its user data."""

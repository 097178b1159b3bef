"""A study for other programs: its tables and plots as files, its trials as runs of MLflow and TensorBoard."""

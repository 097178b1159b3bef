"""Studies as jobs of a cluster: handed over, followed, stopped and resumed through Ray's Jobs API."""

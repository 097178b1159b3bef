"""Studies as jobs of a cluster: submitted, followed, stopped and resumed through Ray's Jobs API."""
